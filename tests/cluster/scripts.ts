// The scripts that write the log, its segments and the blocks, each called directly: when they run
// twice, when entries of a stream were deleted, and in a slot that is moving away. If a newer
// server refuses something, it shows here first.
import t, { type Test } from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { slotOf } from '../../src/redis/slots.js'
import { type Script } from '../../src/redis/script.js'
import {
  blockKey,
  changedKey,
  copyKey,
  logKey,
  segmentKey,
  usersKey
} from '../../src/store/keys.js'
import { CHANGE, ENSURE, ENSURE_BY_COPY, REMOVE_ENTRIES } from '../../src/store/block-scripts.js'
import { MARK_READ } from '../../src/store/dialog-scripts.js'
import { COMMIT, SEAL, SEAL_BY_COPY } from '../../src/store/log-scripts.js'
import { NEEDS_COPY, TOUCH_KEY } from '../../src/store/scripts.js'
import { freshRoom, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'

const cluster = await startCluster(t)
const admin = await Admin.connect(redisTarget(cluster.urls))
t.teardown(() => {
  admin.close()
})
const map = await admin.look()

const ownerOf = (key: string) => map.masterNamed(map.ownerOf(slotOf(key)) ?? '')
const tell = async (key: string, ...words: string[]): Promise<unknown> =>
  await admin.ask(ownerOf(key), ...words)
const run = async (
  { text }: Script,
  keys: readonly string[],
  ...args: Array<string | number>
): Promise<unknown> =>
  await tell(keys[0] ?? '', 'EVAL', text, String(keys.length), ...keys, ...args.map(String))

/**
 * Marks the key's slot as moving to another master, without moving anything, and removes the mark
 * after the test.
 */
async function moving(t: Test, key: string): Promise<void> {
  const owner = ownerOf(key)
  const other = map.masters.find(({ id }) => id !== owner.id)
  if (other === undefined) throw new Error('The cluster has no two masters')
  const setSlot = (node: typeof owner, ...words: string[]): Promise<unknown> =>
    admin.ask(node, 'CLUSTER', 'SETSLOT', String(slotOf(key)), ...words)
  await setSlot(other, 'IMPORTING', owner.id)
  await setSlot(owner, 'MIGRATING', other.id)
  t.teardown(async () => {
    await setSlot(owner, 'STABLE')
    await setSlot(other, 'STABLE')
  })
}

const freshBlock = (): string => blockKey(freshRoom(), 'ann.0')
const idsOf = async (key: string): Promise<string[]> =>
  ((await tell(key, 'XRANGE', key, '-', '+')) as ReadonlyArray<readonly [string]>).map(([id]) => id)
const add = async (key: string, field: string, ...ids: string[]): Promise<void> => {
  for (const id of ids) await tell(key, 'XADD', key, id, field, `text of ${id}`)
}

t.test(
  'a commit that runs again, or cannot see what it must see, leaves the log as it was',
  async t => {
    const room = freshRoom()
    const log = logKey(room)
    // Leaves out the fourth part of the reply, the room's number of users.
    const commitAfter = async (
      [after, known]: readonly [after: number, known: string],
      mayBegin: 0 | 1,
      ...references: string[]
    ): Promise<unknown> =>
      (
        (await run(
          COMMIT,
          [log, usersKey(room)],
          after,
          known,
          mayBegin,
          1,
          0,
          'ann',
          references.length,
          ...references
        )) as unknown[]
      ).slice(0, 3)
    const knownAt = (seq: number): string =>
      seq === 0 ? '' : seq < 3 ? `ann.0/1-${seq}` : `ann.0/2-${seq}`
    const commit = (after: number, mayBegin: 0 | 1, ...references: string[]): Promise<unknown> =>
      commitAfter([after, knownAt(after)], mayBegin, ...references)
    const state = async (): Promise<unknown> => {
      // Fields and values alternate. The end of the stream is not the same as the last id that was
      // ever deleted from it.
      const info = (await tell(log, 'XINFO', 'STREAM', log)) as string[]
      return [
        info[info.indexOf('last-generated-id') + 1],
        info[info.indexOf('max-deleted-entry-id') + 1],
        await tell(log, 'XRANGE', log, '-', '+')
      ]
    }
    const isThere = (): Promise<unknown> => tell(log, 'EXISTS', log)

    t.strictSame(await commit(0, 0, 'ann.0/1-1'), ['no log'])
    t.equal(await isThere(), 0)
    t.strictSame(
      await commit(7, 1, 'ann.0/1-1'),
      ['unseen', 0],
      'a log of which seven entries are known is not started at one'
    )
    t.equal(await isThere(), 0)
    t.strictSame(await commit(0, 1, 'ann.0/1-1', 'ann.0/1-2'), ['committed', 1, 1])
    const begun = await state()
    t.strictSame(
      await commit(0, 0, 'ann.0/1-1', 'ann.0/1-2'),
      ['committed', 1, 1],
      'when it runs again, it finds itself'
    )
    t.strictSame(await state(), begun)
    // More entries than one look covers.
    for (let seq = 3; seq <= 140; seq++) {
      t.strictSame(await commit(seq - 1, 0, `ann.0/2-${seq}`), ['committed', seq, 1])
    }
    const long = await state()
    t.strictSame(
      await commit(0, 0, 'ann.0/1-1', 'ann.0/1-2'),
      ['committed', 1, 1],
      'also after entries of others'
    )
    t.strictSame(await commit(2, 0, 'ann.0/2-3'), ['committed', 3, 1])
    const unseen = ['unseen', 140, 'ann.0/2-140']
    t.strictSame(await commit(1000, 0, 'ann.0/9-1'), unseen, 'the log has lost its end')
    // At the head, at the end of one look (64 entries), and in the middle.
    for (const seq of [140, 77, 76, 100]) {
      t.strictSame(
        await commitAfter([seq, 'ann.0/8-1'], 0, 'ann.0/9-1'),
        unseen,
        `the log has lost its end, and has grown again to beyond ${seq}`
      )
    }
    t.strictSame(await state(), long)
    await tell(log, 'XTRIM', log, 'MINID', '0-100')
    const trimmed = await state()
    t.strictSame(
      await commit(98, 0, 'ann.0/9-1'),
      unseen,
      'the log was trimmed beyond what is known'
    )
    t.strictSame(await commit(0, 0, 'ann.0/9-1'), unseen)
    t.strictSame(await state(), trimmed)
    t.strictSame(
      await commit(100, 0, 'ann.0/9-1'),
      ['committed', 141, 1],
      'others have committed and it has not: it gets the next place'
    )
    t.strictSame(await tell(log, 'HGETALL', usersKey(room)), ['ann', '141'])
  }
)

t.test(
  'a commit that runs again finds itself even in a log from which entries were deleted by hand, and wastes no sequence',
  async t => {
    const room = freshRoom()
    const log = logKey(room)
    const commit = (after: number, reference: string): Promise<unknown> =>
      run(COMMIT, [log], after, after === 0 ? '' : `ann.0/1-${after}`, 1, 0, 0, reference)
    for (const seq of sequence(1, 10)) {
      t.strictSame(await commit(seq - 1, `ann.0/1-${seq}`), ['committed', seq, 0])
    }
    await tell(log, 'XDEL', log, '0-4', '0-9')
    t.strictSame(await commit(7, 'ann.0/1-8'), ['committed', 8, 1])
    t.strictSame(await commit(9, 'ann.0/2-1'), ['unseen', 10, 'ann.0/1-10'])
    t.strictSame(await commit(10, 'ann.0/2-1'), ['committed', 11, 0])
  }
)

t.test('a late entry is put into its place in a block', async t => {
  const late = async (key: string): Promise<void> => {
    t.equal(await run(ENSURE, [key], '5-5', 'text of 5-5'), 1)
    t.strictSame(await idsOf(key), ['5-0', '5-5', '7-0', '9-0'])
    t.equal(await run(ENSURE, [key], '5-5', 'text of 5-5'), 1, 'and it is there once')
    t.strictSame(await idsOf(key), ['5-0', '5-5', '7-0', '9-0'])
    await add(key, 't', '9-1')
    t.strictSame(await tell(key, 'XRANGE', key, '5-5', '7-0'), [
      ['5-5', ['t', 'text of 5-5']],
      ['7-0', ['t', 'text of 7-0']]
    ])
  }
  const [first, second] = [freshBlock(), freshBlock()]
  for (const key of [first, second]) await add(key, 't', '5-0', '7-0', '9-0')
  await late(first)
  await t.test(
    'also while the slot is moving away, when a deleted block cannot be written again',
    async t => {
      await moving(t, second)
      // Redis 7.0 cannot tell there whether the entry was deleted, so the copy waits for the slot.
      if ((await run(ENSURE, [second], '5-5', 'text of 5-5')) !== NEEDS_COPY) return late(second)
      t.match(await tell(second, 'INFO', 'server'), /redis_version:7\.0\./)
      t.strictSame(await idsOf(second), ['5-0', '7-0', '9-0'])
    }
  )
})

t.test(
  'in a block from which entries were deleted, a late entry is put into its place through a copy',
  async t => {
    const key = freshBlock()
    const keys = [key, copyKey(key), changedKey(key)]
    await add(key, 't', '5-0', '6-0', '7-0', '9-0', '9-1')
    // Including the newest, so that the stream ends after its last entry.
    t.equal(await run(REMOVE_ENTRIES, [key], '6-0', '9-1'), 2)
    await tell(key, 'PEXPIRE', key, '600000')
    t.equal(
      await run(ENSURE, [key], '9-0', 'text of 9-0'),
      1,
      'an entry that is there only needs to be found'
    )
    const inPlace = await run(ENSURE, [key], '5-5', 'text of 5-5')
    if (inPlace === NEEDS_COPY) {
      t.strictSame(
        await idsOf(key),
        ['5-0', '7-0', '9-0'],
        'nothing is touched that could not be written again'
      )
      await t.test('it waits while the slot is moving away', async t => {
        await moving(t, key)
        await t.rejects(run(ENSURE_BY_COPY, keys, '5-5', 'text of 5-5'), /TRYAGAIN/)
        t.strictSame(await idsOf(key), ['5-0', '7-0', '9-0'])
      })
    } else t.equal(inPlace, 1, 'Redis 7.0 writes it again in place')
    t.equal(await run(ENSURE_BY_COPY, keys, '5-5', 'text of 5-5'), 1)
    t.equal(
      await run(ENSURE_BY_COPY, keys, '5-5', 'text of 5-5'),
      1,
      'after two runs, it is there once'
    )
    t.strictSame(await idsOf(key), ['5-0', '5-5', '7-0', '9-0'])
    t.equal(await tell(key, 'EXISTS', copyKey(key)), 0)
    t.ok(Number(await tell(key, 'PTTL', key)) > 500_000, 'the block still expires')
  }
)

t.test(
  'a segment of another epoch is replaced, whatever was deleted from it and wherever its slot is moving',
  async t => {
    const references = ['ann.0/1-1', 'bob.0/1-1', 'ann.0/1-2']
    const whole = references.map((reference, index) => [`0-${index + 4}`, ['r', reference]])
    const seal = (key: string): Promise<unknown> => run(SEAL, [key], 4, ...references)
    const [fresh, moved, deleted] = [0, 0, 0].map(() => segmentKey(freshRoom(), 0)) as [
      string,
      string,
      string
    ]
    t.equal(await seal(fresh), 3)
    t.equal(await seal(fresh), 3)
    t.strictSame(await tell(fresh, 'XRANGE', fresh, '-', '+'), whole)
    for (const key of [moved, deleted]) await add(key, 'r', '0-4', '0-5', '0-6', '0-7')
    await t.test('in a slot that is moving away', async t => {
      await moving(t, moved)
      t.equal(await seal(moved), 3)
      t.strictSame(await tell(moved, 'XRANGE', moved, '-', '+'), whole)
    })
    await tell(deleted, 'XDEL', deleted, '0-7')
    if ((await seal(deleted)) === NEEDS_COPY) {
      t.strictSame(
        await idsOf(deleted),
        ['0-4', '0-5', '0-6'],
        'nothing is touched that could not be written again'
      )
      t.equal(await run(SEAL_BY_COPY, [deleted, copyKey(deleted)], 4, ...references), 3)
    }
    t.strictSame(await tell(deleted, 'XRANGE', deleted, '-', '+'), whole)
    t.equal(await tell(deleted, 'EXISTS', copyKey(deleted)), 0)
  }
)

t.test(
  'touching a key is a write that a WAIT covers, and changes neither the key nor its expiry',
  async t => {
    const key = freshBlock()
    await add(key, 't', '5-0', '7-0')
    await tell(key, 'XDEL', key, '7-0')
    const offset = async (): Promise<number> =>
      Number(/^master_repl_offset:(\d+)/m.exec(String(await tell(key, 'INFO', 'replication')))?.[1])
    for (const ttl of [-1, 600_000]) {
      if (ttl > 0) await tell(key, 'PEXPIRE', key, String(ttl))
      const [dump, expires, before] = [
        await tell(key, 'DUMP', key),
        await tell(key, 'PEXPIRETIME', key),
        await offset()
      ]
      t.equal(await run(TOUCH_KEY, [key]), 1)
      t.ok((await offset()) > before)
      t.strictSame(
        [await tell(key, 'DUMP', key), await tell(key, 'PEXPIRETIME', key)],
        [dump, expires]
      )
    }
    t.equal(await run(TOUCH_KEY, [freshBlock()]), 0, 'there is nothing to touch')
  }
)

t.test('a changed message does not come back, however its block was written', async t => {
  const key = freshBlock()
  const keys = [key, copyKey(key), changedKey(key)]
  const change = (id: string, token: string, kind: 't' | 'd', text: string, ms: string) =>
    run(CHANGE, [key, changedKey(key)], id, token, kind, text, ms)
  await add(key, 't', '5-0', '6-0', '7-0')
  t.strictSame(await change('7-0', 'one', 't', 'new', '20'), ['changed', 1, 20])
  t.strictSame(await change('7-0', 'one', 't', 'new', '30'), ['changed', 1, 20], 'once a token')
  t.strictSame(await change('7-0', 'two', 't', 'newer', '3'), ['changed', 2, 21], 'time goes on')
  t.strictSame(await change('7-0', 'three', 'd', '', '40'), ['changed', 3, 40])
  t.strictSame(await change('7-0', 'four', 't', 'again', '50'), ['deleted', 3, 40])
  t.strictSame(await change('8-0', 'five', 'd', '', '50'), ['lost'])
  t.strictSame(await tell(key, 'HGETALL', changedKey(key)), ['7-0', '3 40 three d'])
  t.strictSame(await idsOf(key), ['5-0', '6-0'])

  t.equal(await run(ENSURE, [key], '7-0', 'old'), NEEDS_COPY, 'perhaps it was deleted')
  t.equal(await run(ENSURE_BY_COPY, keys, '7-0', 'old'), 1)
  t.strictSame(await idsOf(key), ['5-0', '6-0'], 'it was')
  // Another message was lost, and comes back through a copy: the stream still knows what was
  // deleted.
  const inPlace = await run(ENSURE, [key], '5-5', 'lost')
  t.ok(inPlace === NEEDS_COPY || inPlace === 1, 'Redis 7.0 writes it again in place')
  t.equal(await run(ENSURE_BY_COPY, keys, '5-5', 'lost'), 1)
  t.strictSame(await idsOf(key), ['5-0', '5-5', '6-0'])
  t.equal(await run(ENSURE, [key], '7-0', 'old'), NEEDS_COPY, 'also after the last entry')
  t.equal(await run(ENSURE_BY_COPY, keys, '7-0', 'old'), 1)
  t.equal(await run(ENSURE, [key], '8-0', 'next'), 1)
  t.strictSame(await idsOf(key), ['5-0', '5-5', '6-0', '8-0'])
})

t.test('a read mark that is set again by the same call counts as moved again', async t => {
  const key = `user:{${freshRoom()}}:read`
  const mark = (seq: number, ms: number): Promise<unknown> =>
    run(MARK_READ, [key, `${key}:0`], 'red', seq, ms)
  t.strictSame(await mark(5, 1000), [5, 1, 1])
  t.strictSame(await mark(5, 1000), [5, 1, 1], 'its first reply may have been lost')
  t.strictSame(await mark(5, 2000), [5, 0, 1])
  t.strictSame(await mark(4, 3000), [5, 0, 1])
  t.strictSame(await mark(6, 4000), [6, 1, 1])
})
