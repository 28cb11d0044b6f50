// `npm run check`: a consistent store passes, even while it is written to. Every kind of
// inconsistency is found, reported and, where possible, repaired.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { text as textOf } from 'node:stream/consumers'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { forEachAtOnce } from '../../src/cli/check/at-once.js'
import { differenceOf } from '../../src/cli/check/counters.js'
import { KINDS, type FindingKind } from '../../src/cli/check/finding.js'
import {
  compare,
  entryIdOf,
  Merge,
  passOf,
  References,
  type EntryId
} from '../../src/cli/check/references.js'
import { type RoomCheckOptions, type RoomReport, workOf } from '../../src/cli/check/room-check.js'
import { findRooms, groupsOf } from '../../src/cli/check/survey.js'
import { EmbeddedCluster } from '../../src/embedded/cluster.js'
import { blockKey, leftKey, logKey, roomSlot, segmentKey, usersKey } from '../../src/store/keys.js'
import { slotOf } from '../../src/redis/slots.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { SEAL } from '../../src/store/log-scripts.js'
import { parseReference } from '../../src/message/message.js'
import { checkRoom } from '../support/check-room.js'
import { freshRoom, post, sequence } from '../support/client.js'
import { startCluster, temporaryDir } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { append, appendMany, openStore, readAll, type TestStore } from '../support/store.js'
import { until } from '../support/until.js'
import { program } from '../support/program.js'

const CHECK = program('cli/check')
const SEGMENT_LENGTH = 16
const AT_ONCE = 3

const embedded = await startCluster(t)
const open = (t: Test, options = {}): Promise<TestStore> =>
  openStore(t, embedded, { segmentLength: SEGMENT_LENGTH, ...options }, redisTarget(embedded.urls))
const openUnsealing = (t: Test): Promise<TestStore> => open(t, { segmentLength: 65_536 })

type Result = { readonly status: number | null; readonly stdout: string; readonly stderr: string }

async function run(env: Readonly<Record<string, string>>, ...args: string[]): Promise<Result> {
  const child = spawn(process.execPath, ['--enable-source-maps', CHECK, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ...env }
  })
  const [stdout, stderr] = await Promise.all([
    textOf(child.stdout),
    textOf(child.stderr),
    child.exitCode ?? once(child, 'exit')
  ])
  return { status: child.exitCode, stdout, stderr }
}

/** Orphans count as old after twice the deadline. */
const DEADLINE_MS = 1000
const ORPHAN_AGE_MS_MIN = 2 * DEADLINE_MS

/** The check as a person calls it. A short deadline allows young orphans. */
const check = (...args: string[]): Promise<Result> =>
  run(
    {
      REDIS_NODES: embedded.urls.join(','),
      SEGMENT_LENGTH: String(SEGMENT_LENGTH),
      STORE_DEADLINE_MS: String(DEADLINE_MS)
    },
    ...args
  )

/** Runs the check within this process. Entries of the last minute are not orphans yet. */
const checkHere = async (
  opened: TestStore,
  room: string,
  options: Partial<RoomCheckOptions> = {}
): Promise<RoomReport> =>
  await checkRoom(opened, room, { orphanAgeMs: 60_000, settleMs: 100, ...options })

const kindsIn = ({ findings }: RoomReport): FindingKind[] => findings.map(({ kind }) => kind)

t.test('a block and the references to it', async t => {
  const ids = fc.record({ ms: fc.nat(5), n: fc.nat(3) })
  const entryLists = fc
    .uniqueArray(ids, { selector: ({ ms, n }) => `${ms}-${n}` })
    .map(list => list.sort(compare))

  t.test('are compared page by page, and exactly the wrong entries are found', async () => {
    fc.assert(
      fc.property(
        fc.array(ids, { maxLength: 30 }),
        entryLists,
        fc.integer({ min: 1, max: 7 }),
        (referred, entries, pageLength) => {
          const references = new References()
          referred.forEach(({ ms, n }, index) => {
            references.add(
              { tag: 'u.0', user: 'u', generation: 0, id: `${ms}-${n}`, ms },
              index + 1
            )
          })
          const merge = new Merge(references.to('u.0'))
          const found = {
            lost: new Array<number>(),
            doubled: new Array<readonly [number, number]>(),
            unreferred: new Array<EntryId>()
          }
          const pages = [
            ...sequence(0, entries.length / pageLength)
              .map(page => entries.slice(page * pageLength, (page + 1) * pageLength))
              .filter(({ length }) => length > 0),
            []
          ]
          for (const page of pages) {
            const { lost, doubled, unreferred } = merge.take(page)
            found.lost.push(...lost.map(({ seq }) => seq))
            found.doubled.push(
              ...doubled.map(({ again, first }) => [again.seq, first.seq] as const)
            )
            found.unreferred.push(...unreferred)
          }
          // The same result, computed by sets and without order.
          const has = (list: readonly EntryId[], id: EntryId): boolean =>
            list.some(other => compare(other, id) === 0)
          const firstOf = (id: EntryId): number =>
            referred.findIndex(other => compare(other, id) === 0) + 1
          assert.deepEqual(
            found.unreferred,
            entries.filter(id => !has(referred, id))
          )
          const firsts = referred.flatMap((id, index) =>
            firstOf(id) === index + 1 ? [index + 1] : []
          )
          assert.deepEqual(
            found.lost.toSorted((a, b) => a - b),
            firsts.filter(seq => !has(entries, referred[seq - 1] ?? { ms: -1, n: 0 }))
          )
          assert.deepEqual(
            found.doubled.map(([again]) => again).sort((a, b) => a - b),
            sequence(1, referred.length).filter(seq => !firsts.includes(seq))
          )
          assert.ok(
            found.doubled.every(
              ([again, first]) =>
                first < again &&
                compare(
                  referred[again - 1] ?? { ms: -1, n: 0 },
                  referred[first - 1] ?? { ms: -1, n: 0 }
                ) === 0
            )
          )
        }
      ),
      { numRuns: 500 }
    )
  })

  t.test('belong to one pass, and the blocks of a user are spread over all passes', async t => {
    for (const passes of [1, 2, 3, 20]) {
      const counts = new Array<number>(passes).fill(0)
      for (const block of sequence(0, 999)) counts[passOf(`lady_gaga.${block}`, passes)]!++
      t.equal(
        counts.reduce((sum, count) => sum + count),
        1000
      )
      t.ok(Math.max(...counts) <= 1000 / passes + 1, counts.join(', '))
    }
    t.strictSame(entryIdOf('1700000000000-12'), { ms: 1_700_000_000_000, n: 12 })
  })
})

t.test(
  'a limited number of items is worked on at a time, each once, and none is started after a failure',
  async t => {
    let running = 0
    let most = 0
    const done: number[] = []
    const work = async (thing: number): Promise<void> => {
      most = Math.max(most, ++running)
      await new Promise(resolve => {
        setImmediate(resolve)
      })
      running--
      if (thing === 50) throw new Error('fifty')
      done.push(thing)
    }
    await forEachAtOnce(sequence(1, 20), 3, work)
    t.equal(most, 3)
    t.strictSame(
      done.toSorted((a, b) => a - b),
      sequence(1, 20)
    )
    await t.rejects(forEachAtOnce(sequence(40, 100), 3, work), { message: 'fifty' })
    t.ok(Math.max(...done) <= 53, 'started work was finished, and the rest was not started')
  }
)

t.test('rooms are grouped as long as their blocks fit', async t => {
  t.strictSame(groupsOf(new Map(), 10), [])
  t.strictSame(
    groupsOf(
      new Map([
        ['a', 4],
        ['b', 6],
        ['c', 1],
        ['d', 10],
        ['e', 11],
        ['f', 0]
      ]),
      10
    ),
    [['a', 'b'], ['c'], ['d'], ['e'], ['f']]
  )
})

t.test('a counter may have any value between what the log had and what it has', async t => {
  for (const [logged, later, counted, difference] of [
    [5, 0, 5, 0],
    [5, 0, 4, 1],
    [5, 0, 6, -1],
    [5, 2, 4, 1],
    [5, 2, 5, 0],
    [5, 2, 7, 0],
    [5, 2, 8, -1],
    [0, 0, 3, -3]
  ] as const) {
    t.equal(
      differenceOf({ logged, later, counted }),
      difference + 0,
      `${logged} + ${later}, counted ${counted}`
    )
  }
})

// These run alone: they look at all rooms, or depend on how young something is.
await t.test('a consistent store passes the check, for one room or all', async t => {
  const { store } = await open(t)
  const [room, other] = [freshRoom(), freshRoom()]
  await appendMany(store, room, 'ann', 100)
  await append(store, room, 'bob', 'hello', 'k')
  await store.sealer.seal(room)
  await append(store, other, 'ผู้ใช้', 'hello')
  const one = await check('--room', room)
  t.equal(one.status, 0, one.stdout + one.stderr)
  t.match(
    one.stdout,
    new RegExp(
      `^${room}: 101 messages of 2 users, \\d blocks, 5 segments: nothing is wrong\n1 room, 101 messages: nothing is wrong\n$`
    )
  )
  t.match(one.stderr, /100 % {2}202 of 202 entries/)
  const all = await check('--json')
  t.equal(all.status, 0, all.stdout + all.stderr)
  const { rooms, total } = JSON.parse(all.stdout)
  t.match(
    rooms.find((report: RoomReport) => report.room === room),
    { head: 101, users: 2, segments: 5, findings: { length: 0 }, violations: 0 }
  )
  t.match(
    rooms.find((report: RoomReport) => report.room === other),
    { head: 1, users: 1, blocks: 1, segments: 0, findings: { length: 0 }, violations: 0 }
  )
  t.equal(total.violations, 0)
  t.equal(total.rooms, rooms.length)
  const entries = (2 * total.messages).toLocaleString('en-US')
  t.match(all.stderr, `100 %  ${entries} of ${entries} entries`)
})

await t.test('a room with only orphans is found by its blocks', async t => {
  const { cluster } = await open(t)
  const room = freshRoom()
  const key = blockKey(room, 'nobody.0')
  await cluster.command(slotOf(key), ['XADD', key, '1-1', 't', 'old'])
  const { rooms } = JSON.parse((await check('--json', '--repair')).stdout)
  t.match(
    rooms.find((report: RoomReport) => report.room === room),
    { head: 0, findings: { length: 1, 0: { kind: 'orphan', count: 1, mended: 1 } } }
  )
  t.notOk((await findRooms(cluster)).has(room))
})

await t.test(
  'orphans are listed and are not violations; --repair removes the old ones and leaves the young ones',
  async t => {
    const { store, cluster } = await open(t)
    const room = freshRoom()
    const user = `ann-${room}`
    await appendMany(store, room, user, 3)
    const block = blockKey(room, `${user}.0`)
    // One in a block that has messages, one alone in a block, and one of a user whom the log does
    // not know.
    const only = [blockKey(room, `${user}.7`), blockKey(room, 'nobody.0')]
    for (const key of [block, ...only]) {
      await cluster.command(slotOf(key), ['XADD', key, '*', 't', 'orphan'])
    }
    const young = await check('--room', room, '--repair')
    t.match(young, { status: 0, stdout: `· ${KINDS.uncommitted.about}: 3\n` })
    t.equal(await cluster.command(slotOf(block), ['XLEN', block]), 4)

    const age = String(ORPHAN_AGE_MS_MIN / 1000)
    await new Promise(resolve => {
      setTimeout(resolve, ORPHAN_AGE_MS_MIN + 100)
    }) // they must age, and no condition tells when they have
    const listed = await check('--room', room, '--orphan-age', age)
    t.match(listed, { status: 0, stdout: `· ${KINDS.orphan.about}: 3\n` })
    for (const key of [block, ...only]) t.ok(listed.stdout.includes(`      ${key} `), key)
    const repaired = await check('--room', room, '--orphan-age', age, '--repair')
    t.match(repaired, { status: 0, stdout: `· ${KINDS.orphan.about}: 3 (repaired)\n` })
    t.match(await checkHere({ store, cluster, published: [], faults: [] }, room), {
      blocks: 1,
      findings: { length: 0 }
    })
    for (const key of only) {
      t.equal(
        await cluster.command(slotOf(key), ['EXISTS', key]),
        0,
        'nothing is left of the block'
      )
    }
    t.equal((await readAll(store, room)).length, 3)
  }
)

// The remaining tests have rooms of their own. Most of the time they wait until the command is sure
// that nothing is in progress.
t.jobs = AT_ONCE

t.test('an empty room passes the check', async t => {
  const { status, stdout } = await check('--room', freshRoom())
  t.equal(status, 0)
  t.match(stdout, /0 messages of 0 users, 0 blocks, 0 segments: nothing is wrong/)
})

t.test('names that look like patterns or like other keys are checked like any other', async t => {
  const opened = await open(t)
  for (const name of ['a*b', '[x]', 'a?', '\\', '^', 'room:', 'x.1', 'ห้อง', '🙂', 'user:']) {
    const room = `${freshRoom()}${name}`
    await appendMany(opened.store, room, `ann*.${name}`, 2)
    t.match(
      await checkHere(opened, room),
      { head: 2, users: 1, blocks: 1, findings: { length: 0 } },
      JSON.stringify(room)
    )
    t.equal((await findRooms(opened.cluster)).get(room), 1)
  }
})

t.test('several passes find the same as one', async t => {
  const opened = await open(t, { blockLength: 5 })
  const { store, cluster } = opened
  const room = freshRoom()
  const user = `ann-${room}`
  await appendMany(store, room, user, 100)
  await store.sealer.seal(room)
  await cluster.command(slotOf(blockKey(room, `${user}.3`)), ['DEL', blockKey(room, `${user}.3`)])
  const orphan = String(
    await cluster.command(slotOf(blockKey(room, `${user}.9`)), [
      'XADD',
      blockKey(room, `${user}.9`),
      '*',
      't',
      'orphan'
    ])
  )
  // A check ignores entries from the millisecond in which it starts.
  await until('the next millisecond', () => Date.now() > Number.parseInt(orphan, 10))
  let entries = 0
  const one = await checkHere(opened, room)
  const many = await checkHere(opened, room, {
    referencesMax: 7,
    onProgress: count => {
      entries += count
    }
  })
  t.strictSame(many, one)
  t.match(one.findings, {
    length: 2,
    0: { kind: 'lost', count: 5 },
    1: { kind: 'uncommitted', count: 1 }
  })
  t.equal(entries, workOf(100, 7))
  t.equal(entries, 100 * 16)
})

t.test(
  'every kind of violation is found and reported, each by itself, and the exit status is 1',
  async t => {
    const { store, cluster } = await open(t)
    const unsealing = (await openUnsealing(t)).store
    const command = (key: string, ...words: string[]): Promise<unknown> =>
      cluster.command(slotOf(key), [words[0] ?? '', key, ...words.slice(1)])
    const referenceAt = async (room: string, seq: number): Promise<string> =>
      (await store.log.range(room, seq, seq))[0]?.reference ?? ''
    const damages: ReadonlyArray<
      readonly [
        kind: FindingKind,
        count: number,
        example: RegExp,
        damage: (room: string) => Promise<unknown>
      ]
    > = [
      [
        'hole',
        3,
        /^ {6}60 to 62$/m,
        async room => await command(logKey(room), 'XDEL', '0-60', '0-61', '0-62')
      ],
      ['hole', 16, /^ {6}17 to 32$/m, async room => await command(segmentKey(room, 1), 'DEL')],
      ['hole', 1, /^ {6}1$/m, async room => await command(segmentKey(room, 0), 'XDEL', '0-1')],
      [
        'no-reference',
        1,
        /^ {6}65: "nonsense"$/m,
        async room => await command(logKey(room), 'XADD', '0-*', 'r', 'nonsense')
      ],
      [
        'lost',
        1,
        /^ {6}5: \S+\.\{\S+\} \d+-\d+$/m,
        async room => {
          const { tag, id } = parseReference(await referenceAt(room, 5))
          await command(blockKey(room, tag), 'XDEL', id)
        }
      ],
      [
        'lost',
        64,
        /and 54 more/,
        async room =>
          await command(blockKey(room, parseReference(await referenceAt(room, 5)).tag), 'DEL')
      ],
      [
        'doubled',
        1,
        /^ {6}65: \S+ \d+-\d+, as 5$/m,
        async room => {
          await command(logKey(room), 'XADD', '0-*', 'r', await referenceAt(room, 5))
          await command(usersKey(room), 'HINCRBY', 'ann', '1')
        }
      ],
      [
        'counter',
        1,
        /^ {6}ann: counted 65, in the log 64$/m,
        async room => await command(usersKey(room), 'HINCRBY', 'ann', '1')
      ],
      [
        'counter',
        1,
        /^ {6}ann: counted 0, in the log 64$/m,
        async room => await command(usersKey(room), 'DEL')
      ],
      [
        'counter',
        1,
        /^ {6}bob: counted 2, in the log 0$/m,
        async room => await command(usersKey(room), 'HSET', 'bob', '2')
      ],
      [
        'segment-beyond',
        1,
        /^ {6}segment 9 covers 145 to 160, but the head is 64$/m,
        async room => await command(segmentKey(room, 9), 'XADD', '0-145', 'r', 'x.0/1-0')
      ]
    ]
    await forEachAtOnce(damages, AT_ONCE, async ([kind, count, example, damage]) => {
      const room = freshRoom()
      await appendMany(store, room, 'ann', 4 * SEGMENT_LENGTH)
      await store.sealer.seal(room)
      await damage(room)
      const { status, stdout } = await check('--room', room)
      t.equal(status, 1, kind)
      t.match(
        stdout,
        new RegExp(`^  ✗ ${KINDS[kind].about.replace(/[()?]/g, '\\$&')}: ${count}$`, 'm')
      )
      t.match(stdout, example)
      t.equal(stdout.match(/✗/g)?.length, 1, stdout)
    })

    const differing = freshRoom()
    await appendMany(unsealing, differing, 'ann', 3 * SEGMENT_LENGTH)
    for (const seq of sequence(1, SEGMENT_LENGTH)) {
      await command(segmentKey(differing, 0), 'XADD', `0-${seq}`, 'r', `ann.0/1-${seq}`)
    }
    t.match(await check('--room', differing), {
      status: 1,
      stdout: `✗ ${KINDS['segment-differs'].about}: 1\n      segment 0, of 1 to 16\n`
    })

    const misplaced = freshRoom()
    await appendMany(unsealing, misplaced, 'ann', 3 * SEGMENT_LENGTH)
    await command(logKey(misplaced), 'XTRIM', 'MINID', '0-4')
    t.match(await check('--room', misplaced), {
      status: 1,
      stdout: /✗ sequences missing from the log .*: 3\n[^]*✗ tails that do not begin .*: 1\n/
    })
  }
)

t.test('--repair corrects counters, and they stay right while writing goes on', async t => {
  const { store, cluster } = await open(t)
  const room = freshRoom()
  for (const user of ['ann', 'bob', 'cyd']) await appendMany(store, room, user, 20)
  await cluster.command(roomSlot(room), ['HINCRBY', usersKey(room), 'ann', '-7'])
  await cluster.command(roomSlot(room), ['HDEL', usersKey(room), 'bob'])
  await cluster.command(roomSlot(room), ['HSET', usersKey(room), 'cyd', '21', 'ghost', '4'])
  t.match(await check('--room', room), { status: 1, stdout: `✗ ${KINDS.counter.about}: 4\n` })
  t.match(await check('--room', room, '--repair'), {
    status: 0,
    stdout: `✗ ${KINDS.counter.about}: 4 (repaired)\n`
  })
  t.match(await check('--room', room), { status: 0 })
  await append(store, room, 'ann', 'one more')
  t.strictSame((await store.users.page(room, undefined, 1000)).users, [
    { user: 'ann', messages: 21 },
    { user: 'bob', messages: 20 },
    { user: 'cyd', messages: 20 },
    { user: 'ghost', messages: 0 }
  ])
})

t.test(
  'a member who does not see the room in their list is reported, and --repair fixes the list',
  async t => {
    const { store, cluster } = await open(t)
    const room = freshRoom()
    const ghost = `ghost of ${room}`
    await append(store, room, 'ann', 'hello')
    await store.listUpdates.allSettled()
    await cluster.command(roomSlot(room), ['HSET', usersKey(room), ghost, '0'])
    t.match(await check('--room', room), { status: 0, stdout: `· ${KINDS.unlisted.about}: 1\n` })
    t.match(await check('--room', room, '--repair'), {
      status: 0,
      stdout: `· ${KINDS.unlisted.about}: 1 (repaired)\n`
    })
    t.notMatch((await check('--room', room)).stdout, KINDS.unlisted.about)
    t.match(await store.inbox.page(ghost, undefined, 50, 1e6), { dialogs: [{ room, unread: 1 }] })
  }
)

t.test('a removed user is still counted, and does not become a member again', async t => {
  const { store, cluster } = await open(t)
  const room = freshRoom()
  for (const user of ['ann', 'bob']) await appendMany(store, room, user, 5)
  await store.members.leave(room, 'ann')
  await store.members.join(room, 'cyd')
  t.match(await check('--room', room), { status: 0 })
  await cluster.command(roomSlot(room), ['HINCRBY', leftKey(room), 'ann', '2'])
  t.match(await check('--room', room, '--repair'), {
    status: 0,
    stdout: `✗ ${KINDS.counter.about}: 1 (repaired)\n`
  })
  t.match(await check('--room', room), { status: 0 })
  t.strictSame((await store.users.page(room, undefined, 1000)).users, [
    { user: 'bob', messages: 5 },
    { user: 'cyd', messages: 0 }
  ])
  await store.members.join(room, 'ann')
  t.equal(await store.users.get(room, 'ann'), 5)
})

t.test(
  '--repair finishes sealing that was interrupted, and changes nothing for the readers',
  async t => {
    const opened = await openUnsealing(t)
    const { store, cluster } = opened
    const room = freshRoom()
    await appendMany(store, room, 'ann', 4 * SEGMENT_LENGTH)
    const whole = await store.log.range(room, 1, 1000)
    const target = segmentKey(room, 0)
    await cluster.command(slotOf(target), [
      'EVALSHA',
      SEAL.sha,
      '1',
      target,
      '1',
      ...whole.slice(0, SEGMENT_LENGTH).map(({ reference }) => reference ?? '')
    ])
    t.match(await check('--room', room), {
      status: 0,
      stdout: `· ${KINDS['half-sealed'].about}: 1\n`
    })
    t.equal(
      await cluster.command(roomSlot(room), ['XLEN', logKey(room)]),
      4 * SEGMENT_LENGTH,
      'it only looked'
    )
    t.match(await check('--room', room, '--repair'), {
      status: 0,
      stdout: `· ${KINDS['half-sealed'].about}: 1 (repaired)\n`
    })
    t.equal(await cluster.command(roomSlot(room), ['XLEN', logKey(room)]), 2 * SEGMENT_LENGTH)
    const { store: sealing } = await open(t)
    t.strictSame(await sealing.log.range(room, 1, 1000), whole)
  }
)

t.test('what cannot be repaired is left as it is, and the status stays 1', async t => {
  const { store, cluster } = await open(t)
  const room = freshRoom()
  await appendMany(store, room, 'ann', 4 * SEGMENT_LENGTH)
  await store.sealer.seal(room)
  await cluster.command(slotOf(segmentKey(room, 1)), ['DEL', segmentKey(room, 1)])
  const before = await store.log.range(room, 1, 1000)
  const { status, stdout } = await check('--room', room, '--repair')
  t.equal(status, 1)
  t.notMatch(stdout, /repaired/, 'the counters are not corrected to match a log that has a hole')
  t.strictSame(await store.log.range(room, 1, 1000), before)
})

t.test(
  "a check with a SEGMENT_LENGTH that differs from the service's does no harm, and says what may be wrong",
  async t => {
    const { store } = await open(t)
    const room = freshRoom()
    await appendMany(store, room, 'ann', 5 * SEGMENT_LENGTH)
    await store.sealer.seal(room)
    const whole = await store.log.range(room, 1, 1000)
    const env = { REDIS_NODES: embedded.urls.join(','), STORE_DEADLINE_MS: String(DEADLINE_MS) }
    for (const length of ['17', '32', '1024']) {
      const { status, stdout } = await run(
        { ...env, SEGMENT_LENGTH: length },
        '--room',
        room,
        '--repair'
      )
      t.equal(status, 1)
      t.match(stdout, /SEGMENT_LENGTH/, length)
      t.strictSame(await store.log.range(room, 1, 1000), whole)
    }
  }
)

t.test('while writers go on, nothing is found, and nothing right is changed', async t => {
  const writers = [await open(t, { blockLength: 10 }), await open(t, { blockLength: 10 })] as const
  const checker = await open(t)
  const room = freshRoom()
  const writing = { isOver: false }
  const write = async ({ store }: TestStore, user: string): Promise<number> => {
    for (let n = 0; ; n += 5) {
      if (writing.isOver) return n
      await appendMany(store, room, user, 5)
    }
  }
  const written = writers.flatMap(writer => ['ann', 'bob', 'cyd'].map(user => write(writer, user)))
  const reports: RoomReport[] = []
  while (reports.length < 8) {
    await until(
      'more was written',
      async () => (await checker.store.head(room)) > (reports.at(-1)?.head ?? 0)
    )
    reports.push(await checkHere(checker, room, { isRepairing: true }))
  }
  const { status, stdout } = await check('--room', room, '--repair')
  t.equal(status, 0, stdout)
  writing.isOver = true
  const total = (await Promise.all(written)).reduce((sum, count) => sum + count)
  for (const report of reports) {
    t.strictSame(
      kindsIn(report).filter(kind => kind !== 'half-sealed' && kind !== 'uncommitted'),
      [],
      `at ${report.head}`
    )
  }
  t.ok(new Set(reports.map(({ head }) => head)).size > 5, 'writing went on meanwhile')
  t.match(await checkHere(checker, room), { head: total, findings: { length: 0 } })
})

t.test('a wrong option or setting is reported, and the status is 2', async t => {
  for (const [args, message] of [
    [['--nonsense'], /Unknown option '--nonsense'/],
    [['room'], /Unexpected argument 'room'/],
    [['--room', 'a{b'], /The room has a brace/],
    [['--room', ''], /The room is empty/],
    [['--orphan-age', '1.9'], /--orphan-age must be a number from 2 to/],
    [['--orphan-age', 'x'], /--orphan-age must be a number/]
  ] as const) {
    t.match(await check(...args), { status: 2, stdout: '', stderr: message }, args.join(' '))
  }
  t.match(await run({ REDIS_NODES: 'nonsense' }), { status: 2, stderr: /REDIS_NODES must hold/ })
  t.match(await run({ REDIS_NODES: 'redis://127.0.0.1:1' }, '--orphan-age', '19'), {
    status: 2,
    stderr: /from 20 to/
  })
  const dir = temporaryDir(t)
  t.match(await run({ DATA_DIR: dir }), { status: 2, stderr: /There is no embedded cluster in/ })
  t.notOk(existsSync(`${dir}/cluster.json`), 'it makes none')
  const help = await check('--help')
  t.equal(help.status, 0)
  for (const option of ['--room', '--repair', '--orphan-age', '--json']) {
    t.ok(help.stdout.includes(option), option)
  }
})

t.test('a store that does not answer is reported in one line, and the status is 1', async t => {
  const { status, stdout, stderr } = await run({
    REDIS_NODES: 'redis://127.0.0.1:1',
    STORE_DEADLINE_MS: '200'
  })
  t.equal(status, 1)
  t.equal(stdout, '')
  t.match(stderr, /^The check could not be finished: No Redis Cluster at 127\.0\.0\.1:1: .*\n$/)
})

t.test(
  'without REDIS_NODES it checks the embedded cluster, whether its service is running or stopped',
  async t => {
    const dataDir = temporaryDir(t)
    const service = await startService(t, { env: { DATA_DIR: dataDir } })
    t.equal((await post(service.url, 'room123', 'ann', 'hello')).status, 201)
    const running = await run({ DATA_DIR: dataDir })
    t.match(
      running,
      {
        status: 0,
        stdout: /^room123: 1 message of 1 user, 1 block, 0 segments: nothing is wrong\n/
      },
      running.stderr
    )
    t.equal((await post(service.url, 'room123', 'ann', 'hello')).status, 201, 'the service goes on')
    await service.stop()
    const stopped = await run({ DATA_DIR: dataDir })
    t.match(
      stopped,
      { status: 0, stdout: /^room123: 2 messages of 1 user/, stderr: /Starting the 6 Redis nodes/ },
      stopped.stderr
    )
    const again = await EmbeddedCluster.start({ dataDir })
    t.teardown(() => again.stop())
    t.equal(again.nodes.length, 6, 'and it was stopped again')
  }
)
