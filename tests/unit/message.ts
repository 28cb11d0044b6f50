// Block arithmetic, references and cursors: they are made and parsed without loss, and anything
// else is refused.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { DialogsError } from '../../src/errors.js'
import { compareIds } from '../../src/store/block-run.js'
import {
  blockNumber,
  blockOf,
  blockTag,
  entryIdAfter,
  formatCursor,
  formatReference,
  parseDeletion,
  isLost,
  parseCursor,
  formatChange,
  parseReference,
  timeOf
} from '../../src/message/message.js'
import { names } from '../support/names.js'

const lengths = fc.integer({ min: 1, max: 100_000 })
const ordinals = fc.integer({ min: 1, max: 2 ** 40 })
const times = fc.integer({ min: 0, max: 8.64e14 })
const counters = fc.nat({ max: 2 ** 31 })

t.test(
  'a block holds exactly BLOCK_LENGTH consecutive messages, and the first block starts at the first message',
  async t => {
    for (const [n, block] of [
      [1, 0],
      [999, 0],
      [1000, 0],
      [1001, 1],
      [2000, 1],
      [2001, 2],
      [5000, 4]
    ] as const) {
      t.equal(blockOf(n, 1000), block, `message ${n}`)
    }
    fc.assert(
      fc.property(ordinals, lengths, (n, length) => {
        const block = blockOf(n, length)
        return block >= 0 && block * length < n && n <= (block + 1) * length
      })
    )
    fc.assert(
      fc.property(
        ordinals,
        lengths,
        (n, length) => blockOf(n + 1, length) - blockOf(n, length) === (n % length === 0 ? 1 : 0)
      )
    )
  }
)

t.test('five thousand messages of one user are five blocks of a thousand', async t => {
  const counts = new Map<string, number>()
  for (let n = 1; n <= 5000; n++) {
    counts.set(
      blockTag('lady_gaga', n, 1000),
      (counts.get(blockTag('lady_gaga', n, 1000)) ?? 0) + 1
    )
  }
  t.strictSame(
    [...counts],
    [0, 1, 2, 3, 4].map(block => [`lady_gaga.${block}`, 1000])
  )
})

t.test("a block's number can be read from its tag, whatever the user is called", async () => {
  fc.assert(
    fc.property(names, ordinals, lengths, (user, n, length) => {
      assert.equal(blockNumber(blockTag(user, n, length)), blockOf(n, length))
    })
  )
})

t.test('a reference parses to the parts it was made of, whatever the user is called', async () => {
  fc.assert(
    fc.property(
      names,
      ordinals,
      lengths,
      fc.option(ordinals, { nil: 0 }),
      times,
      counters,
      (user, n, length, generation, ms, counter) => {
        const tag = blockTag(user, n, length, generation)
        const id = `${ms}-${counter}`
        const reference = formatReference(tag, id)
        assert.deepEqual(parseReference(reference), { tag, user, generation, id, ms })
        assert.equal(parseDeletion(reference), undefined)
        assert.equal(timeOf(reference), ms)
      }
    )
  )
  fc.assert(
    fc.property(times, ms => {
      assert.equal(parseDeletion(`~deleted.${ms}`), ms)
      assert.equal(timeOf(`~deleted.${ms}`), ms)
    })
  )
})

t.test('so does the reference of a change, and neither is mistaken for the other', async () => {
  fc.assert(
    fc.property(names, ordinals, times, counters, ordinals, ordinals, fc.boolean(), (...made) => {
      const [user, block, ms, counter, seq, n, isDeletion] = made
      const tag = `${user}.${block}`
      const id = `${ms}-${counter}`
      const change = { seq, n, ms: ms + 1, isDeletion }
      assert.deepEqual(parseReference(formatChange(tag, id, change)), {
        tag,
        user,
        generation: 0,
        id,
        ms: ms + 1,
        change
      })
      const odd = `${formatReference(tag, id)}~1.2.3.4`
      const user2 = odd.slice(0, -2)
      const parsed = parseReference(`${odd}/${id}`)
      assert.deepEqual(parsed, { tag: odd, user: user2, generation: 0, id, ms })
    })
  )
})

t.test('anything that is not a reference is refused', async t => {
  for (const text of [
    '',
    'x',
    'x.0',
    'x/1-0',
    '.0/1-0',
    '/1-0',
    'x.0/',
    'x.0/y',
    'x.0/-1',
    '1-0',
    'x.0/1',
    'x.0/1-',
    'x.0/1-0 ',
    'x.y/1-0',
    'x.01/1-0',
    'x/1-0/x.0',
    'x.0/1-0~1.1.1x',
    'x.0/1-0~0.1.1',
    'x.0/1-0~1.1',
    'x.0~1.1.1',
    'x.0/1-0~1.1.1~1.1.1'
  ]) {
    t.throws(() => parseReference(text), { message: /^Not a reference/ }, JSON.stringify(text))
  }
})

t.test('the ids of a group count up from its first', async t => {
  t.equal(entryIdAfter('5-7', 0), '5-7')
  t.equal(entryIdAfter('5-7', 2), '5-9')
  fc.assert(
    fc.property(times, counters, fc.nat({ max: 4096 }), (ms, counter, offset) => {
      assert.equal(entryIdAfter(`${ms}-${counter}`, offset), `${ms}-${counter + offset}`)
    })
  )
})

t.test('entry ids are ordered by time and then by counter, as numbers', async t => {
  t.ok(compareIds('9-0', '10-0') < 0)
  t.ok(compareIds('10-9', '10-10') < 0)
  fc.assert(
    fc.property(times, counters, times, counters, (ms, n, otherMs, otherN) => {
      const expected = ms === otherMs ? Math.sign(n - otherN) : Math.sign(ms - otherMs)
      return Math.sign(compareIds(`${ms}-${n}`, `${otherMs}-${otherN}`)) === expected
    })
  )
})

t.test(
  'a cursor is a sequence, or a sequence and a time, and parses to what it was made of',
  async t => {
    t.strictSame(parseCursor('0'), { seq: 0, ms: undefined })
    t.strictSame(parseCursor('42'), { seq: 42, ms: undefined })
    t.strictSame(parseCursor('42-0'), { seq: 42, ms: 0 })
    fc.assert(
      fc.property(
        fc.nat({ max: 999_999_999_999_999 }),
        fc.nat({ max: 999_999_999_999_999 }),
        (seq, ms) => {
          assert.deepEqual(parseCursor(formatCursor(seq, ms)), { seq, ms })
        }
      )
    )
  }
)

t.test('anything that is not a cursor is refused, even if it nearly is one', async t => {
  const invalid = [
    '',
    ' ',
    '1 ',
    ' 1',
    '+1',
    '-1',
    '1-',
    '-',
    '01',
    '1-01',
    '1-2-3',
    '1.0',
    '1e3',
    '0x1',
    '１',
    '1,2',
    'NaN',
    'Infinity',
    '1\n',
    '1000000000000000',
    '1-1000000000000000'
  ]
  for (const text of invalid) {
    t.throws(() => parseCursor(text), { code: 'INVALID_CURSOR' }, JSON.stringify(text))
  }
  t.strictSame(parseCursor('999999999999999-999999999999999'), {
    seq: 999_999_999_999_999,
    ms: 999_999_999_999_999
  })
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('0', '1', '9', '-', '.', ' ', 'e', '+'), maxLength: 20 }),
      text => {
        try {
          const { seq, ms } = parseCursor(text)
          assert.equal(ms === undefined ? String(seq) : formatCursor(seq, ms), text)
        } catch (error) {
          assert.ok(error instanceof DialogsError && error.code === 'INVALID_CURSOR')
        }
      }
    )
  )
})

t.test('a lost entry is distinguished from a message', async t => {
  t.ok(isLost({ room: 'r', seq: 1, ms: 0, lost: true }))
  t.notOk(isLost({ room: 'r', seq: 1, ms: 0, user: 'u', text: 'lost' }))
})
