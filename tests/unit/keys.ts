// Every key has one meaning, and can be taken apart into the parts that it was made of.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import {
  blockKey,
  changedKey,
  deletedKey,
  DIALOGS_PARTS,
  dialogsKey,
  dialogsPartKey,
  goneKey,
  type KeyKind,
  leftKey,
  leftPartKey,
  logKey,
  onceKey,
  parseKey,
  readKey,
  readPartKey,
  roomChannel,
  roomSlot,
  segmentKey,
  userCountKey,
  USERS_PARTS,
  usersKey,
  usersPartKey
} from '../../src/store/keys.js'
import { formatTag, splitNumber } from '../../src/message/block-tag.js'
import { SLOT_COUNT, slotOf } from '../../src/redis/slots.js'
import { names } from '../support/names.js'

const numbers = fc.nat({ max: 999_999_999_999_999 })
// 1 to 255 visible ASCII characters, braces among them.
const onceKeys = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map(code => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 40
})

const kinds: fc.Arbitrary<KeyKind> = fc.oneof(
  fc
    .record({
      kind: fc.constantFrom('block' as const, 'changed' as const),
      room: names,
      user: names,
      block: numbers,
      generation: numbers
    })
    .map(place => ({ ...place, tag: formatTag(place) })),
  fc.record({
    kind: fc.constantFrom(
      'log' as const,
      'users' as const,
      'left' as const,
      'deleted' as const,
      'gone' as const
    ),
    room: names
  }),
  fc.record({
    kind: fc.constantFrom('usersPart' as const, 'leftPart' as const),
    room: names,
    part: fc.nat({ max: USERS_PARTS - 1 })
  }),
  fc.record({ kind: fc.constant('segment' as const), room: names, segment: numbers }),
  fc.record({ kind: fc.constant('once' as const), room: names, key: onceKeys }),
  fc.record({
    kind: fc.constantFrom('count' as const, 'dialogs' as const, 'read' as const),
    user: names
  }),
  fc.record({
    kind: fc.constantFrom('dialogsPart' as const, 'readPart' as const),
    user: names,
    part: fc.nat({ max: DIALOGS_PARTS - 1 })
  })
)

function keyOf(meaning: KeyKind): string {
  switch (meaning.kind) {
    case 'block':
      return blockKey(meaning.room, meaning.tag)
    case 'changed':
      return changedKey(blockKey(meaning.room, meaning.tag))
    case 'log':
      return logKey(meaning.room)
    case 'deleted':
      return deletedKey(meaning.room)
    case 'gone':
      return goneKey(meaning.room)
    case 'users':
      return usersKey(meaning.room)
    case 'usersPart':
      return usersPartKey(meaning.room, meaning.part)
    case 'segment':
      return segmentKey(meaning.room, meaning.segment)
    case 'once':
      return onceKey(meaning.room, meaning.key)
    case 'left':
      return leftKey(meaning.room)
    case 'leftPart':
      return leftPartKey(meaning.room, meaning.part)
    case 'count':
      return userCountKey(meaning.user)
    case 'dialogs':
      return dialogsKey(meaning.user)
    case 'dialogsPart':
      return dialogsPartKey(meaning.user, meaning.part)
    case 'read':
      return readKey(meaning.user)
    case 'readPart':
      return readPartKey(meaning.user, meaning.part)
  }
}

t.test('every key parses back to exactly the parts it was made of', async () => {
  fc.assert(
    fc.property(kinds, meaning => {
      assert.deepEqual(parseKey(keyOf(meaning)), { ...meaning })
    }),
    { numRuns: 2000 }
  )
})

t.test('the keys have the documented form', async t => {
  t.equal(blockKey('room123', 'lady_gaga.4'), 'room123.{lady_gaga.4}')
  t.equal(userCountKey('lady_gaga'), 'user:{lady_gaga}:count')
  t.equal(logKey('room123'), 'room:{room123}:log')
  t.equal(segmentKey('room123', 7), 'room:{room123.7}:segment')
  t.equal(usersKey('room123'), 'room:{room123}:users')
  t.equal(usersPartKey('room123', 7), 'room:{room123}:users:7')
  t.equal(leftKey('room123'), 'room:{room123}:left')
  t.equal(leftPartKey('room123', 7), 'room:{room123}:left:7')
  t.equal(dialogsKey('ann'), 'user:{ann}:rooms')
  t.equal(dialogsPartKey('ann', 63), 'user:{ann}:rooms:63')
  t.equal(readKey('ann'), 'user:{ann}:read')
  t.equal(readPartKey('ann', 0), 'user:{ann}:read:0')
  t.equal(onceKey('room123', 'abc'), 'room:{room123}:once:abc')
  t.equal(roomChannel('room123'), 'room:{room123}')
})

t.test('a segment of one room is never the log of a room with a similar name', async t => {
  t.not(segmentKey('a', 1), logKey('a.1'))
  t.strictSame(parseKey(segmentKey('a.1', 2)), { kind: 'segment', room: 'a.1', segment: 2 })
  t.strictSame(parseKey(blockKey('room:', 'x.0')), {
    kind: 'block',
    room: 'room:',
    tag: 'x.0',
    user: 'x',
    block: 0,
    generation: 0
  })
  t.strictSame(parseKey(blockKey('a.1', 'b.2.3')), {
    kind: 'block',
    room: 'a.1',
    tag: 'b.2.3',
    user: 'b.2',
    block: 3,
    generation: 0
  })
  t.equal(formatTag({ user: 'x', block: 3, generation: 7 }), 'x.3:7')
  t.match(parseKey('a.{x.3:7}'), { user: 'x', block: 3, generation: 7 })
})

t.test('a key of another program is not mistaken for one of ours', async t => {
  for (const key of [
    '',
    'x',
    '{',
    '{}',
    '{x}',
    'foo:{bar}',
    'user:{x}',
    'user:{x}:counts',
    'users:{x}:count',
    'room:{x}',
    'room:{x}:logs',
    'room:{x}:once',
    'room:{x}:users:',
    'room:{x}:users:01',
    'room:{x}:users:1000',
    'room:{x}:users:a',
    'room:{x:log',
    'room:x}:log',
    'room:{x}:segment',
    'room:{x.}:segment',
    'room:{.1}:segment',
    'room:{x.01}:segment',
    'room:{x.-1}:segment',
    'room:{x.1e3}:segment',
    '.{x.1}',
    'r{x.1}',
    'r.{x}',
    'r.{x.1}y',
    'r.{x.1} ',
    'r.{.1}',
    'r.{x.1000000000000000}'
  ]) {
    t.equal(parseKey(key), undefined, JSON.stringify(key))
  }
})

t.test("the block's number follows the last dot", async t => {
  fc.assert(
    fc.property(names, numbers, (name, number) => {
      assert.deepEqual(splitNumber(`${name}.${number}`), [name, number])
    })
  )
  t.equal(splitNumber('x'), undefined)
  t.equal(splitNumber('1.2.'), undefined)
  t.strictSame(splitNumber('.0.0'), ['.0', 0])
  t.strictSame(splitNumber('x.999999999999999'), ['x', 999_999_999_999_999])
})

t.test('slots are those of the Redis Cluster specification', async t => {
  t.equal(slotOf('123456789'), 0x31c3)
  t.equal(slotOf('foo'), 12182)
  t.equal(slotOf('foo{{bar}}zap'), slotOf('{bar'))
  fc.assert(
    fc.property(names, name => {
      assert.equal(slotOf(`x{${name}}y`), slotByDefinition(Buffer.from(name)))
    })
  )
})

t.test(
  "all keys of a room lie in one slot; a block's slot depends on its user and number, not on the room",
  async () => {
    fc.assert(
      fc.property(names, names, numbers, onceKeys, (room, other, number, once) => {
        for (const key of [logKey(room), usersKey(room), onceKey(room, once), roomChannel(room)]) {
          assert.equal(slotOf(key), roomSlot(room))
        }
        assert.equal(slotOf(blockKey(room, `x.${number}`)), slotOf(blockKey(other, `x.${number}`)))
        assert.ok(roomSlot(room) >= 0 && roomSlot(room) < SLOT_COUNT)
      })
    )
  }
)

t.test('the blocks of one busy user spread evenly over three shards', async t => {
  const blocks = 1000
  const shards = [0, 0, 0]
  for (let block = 0; block < blocks; block++) {
    shards[Math.floor((slotOf(blockKey('room123', `lady_gaga.${block}`)) * 3) / SLOT_COUNT)]!++
  }
  t.ok(Math.max(...shards) <= (blocks / 3) * 1.1, shards.join(', '))
})

/** CRC-16/XMODEM modulo 16384, bit by bit, as the specification's appendix defines it. */
function slotByDefinition(bytes: Buffer): number {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) {
      crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff
    }
  }
  return crc % SLOT_COUNT
}
