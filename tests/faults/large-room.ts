// Rooms with so many users that their counters are split into parts: the split while people write,
// an interrupted split, and full size. With LARGE_ROOM_USERS=1000000 (10 minutes, 2 GB) the last
// test tries what the limits promise; by default it uses 20,000.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { moveSlots } from '../../src/cli/cluster/mover.js'
import { redisTarget } from '../../src/config/redis-target.js'
import {
  logKey,
  PARTS_MARK,
  roomSlot,
  USERS_PARTS,
  usersKey,
  usersPart,
  usersPartKey
} from '../../src/store/keys.js'
import { MOVE_USERS } from '../../src/store/user-scripts.js'
import { type User, type Users } from '../../src/store/users.js'
import { freshRoom, post, request, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { append, openStore } from '../support/store.js'
import { timePosts } from '../support/timed-posts.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const LARGE = Number(process.env['LARGE_ROOM_USERS'] ?? 20_000)
const KEY_BYTES_MAX = 2 * 2 ** 20
const PAUSE_MS_MAX = 50
const BLOCK_PAGES = 100
const POSTS_MAX = 100_000

/** A name of 64 characters, each of four bytes. */
const longName = (n: number): string =>
  [...String(n).padStart(8, '0')]
    .map(digit => String.fromCodePoint(0x1f600 + Number(digit)))
    .join('') + '😀'.repeat(56)

async function allUsers(users: Users, room: string, limit: number): Promise<User[]> {
  const all: User[] = []
  for (let after: string | undefined; ;) {
    const page = await users.page(room, after, limit)
    all.push(...page.users)
    if (page.next === undefined) return all
    after = page.next
  }
}

async function largestKey(admin: Admin, room: string): Promise<number> {
  const map = await admin.look()
  const owner = map.nodes.get(map.ownerOf(roomSlot(room)) ?? '')
  if (owner === undefined) throw new Error('The slot has no owner')
  const keys = [
    usersKey(room),
    ...sequence(0, USERS_PARTS - 1).map(part => usersPartKey(room, part))
  ]
  return Math.max(
    ...(
      await admin.askAll(
        owner,
        keys.map(key => ['MEMORY', 'USAGE', key, 'SAMPLES', '0'])
      )
    ).map(Number)
  )
}

/** The commands that kept a node busy for longer than the limit, in words. */
async function pauses(admin: Admin): Promise<string[]> {
  const { masters } = await admin.look()
  const slow = await Promise.all(
    masters.map(async node => {
      // Each entry is: number, time, µs, the command's words, its client.
      const entries = (await admin.ask(node, 'SLOWLOG', 'GET', '100')) as ReadonlyArray<
        readonly [number, number, number, readonly string[]]
      >
      return entries.map(
        ([, , us, words]) =>
          `${words.slice(0, 2).join(' ').slice(0, 60)} … took ${(us / 1000).toFixed(1)} ms`
      )
    })
  )
  return slow.flat()
}

for (const count of [2999, 3000, 3001, 3500]) {
  t.test(`with ${count} users, every count is right, on whichever page`, async t => {
    const { store, cluster: connected, faults } = await openStore(t, cluster)
    const room = freshRoom()
    const names = sequence(1, count).map(n => `user ${n}`)
    for (let from = 0; from < count; from += 500) {
      await Promise.all(
        names.slice(from, from + 500).map(name => append(store, room, name, 'hello'))
      )
    }
    // Some write while the room is being split, and some afterwards.
    await Promise.all(names.slice(0, 200).map(name => append(store, room, name, 'again')))
    await append(store, room, names[0] ?? '', 'once', 'a key')
    await append(store, room, names[1] ?? '', 'and once', 'another key')
    await store.appender.settled()
    const isSplit =
      (await connected.command(roomSlot(room), ['HEXISTS', usersKey(room), PARTS_MARK])) === 1
    t.equal(isSplit, count > 3000)
    if (isSplit) {
      t.equal(
        await connected.command(roomSlot(room), ['HLEN', usersKey(room)]),
        1,
        'nobody is left in the first key'
      )
    }
    const expected = new Map(
      names.map((name, index) => [name, index < 2 ? 3 : index < 200 ? 2 : 1])
    )
    for (const limit of [1000, 997]) {
      const all = await allUsers(store.users, room, limit)
      t.equal(all.length, count)
      t.strictSame(new Map(all.map(({ user, messages }) => [user, messages])), expected)
    }
    t.equal((await store.users.page(room, undefined, 1)).total, count)
    t.equal(await store.users.get(room, 'user 1'), 3)
    t.equal(await store.users.get(room, 'nobody'), undefined)
    t.strictSame(faults, [])
    // Another process, which does not know of the split yet.
    const other = await openStore(t, cluster)
    await append(other.store, room, 'user 1', 'from elsewhere')
    await append(other.store, room, 'user 1', 'from elsewhere')
    await other.store.appender.settled()
    t.equal(await other.store.users.get(room, 'user 1'), 5)
    t.equal((await other.store.users.page(room, undefined, 1)).total, count)
    if (isSplit) t.equal(await connected.command(roomSlot(room), ['HLEN', usersKey(room)]), 1)
  })
}

t.test(
  'wherever the split of a room was interrupted, counts and pages are right, and the next commit continues it',
  async t => {
    const { store, cluster: connected } = await openStore(t, cluster)
    const slot = (room: string): number => roomSlot(room)
    for (const moved of [0, 1, 50]) {
      const room = freshRoom()
      const names = sequence(1, 100).map(n => `user ${n}`)
      await Promise.all(names.map(name => append(store, room, name, 'hello')))
      const first = names.slice(0, moved)
      const parts = [...new Set(first.map(name => usersPartKey(room, usersPart(name))))]
      const args = first.flatMap(name => [
        name,
        String(2 + parts.indexOf(usersPartKey(room, usersPart(name))))
      ])
      // Twice, because it is unknown whether the first was carried out.
      for (let n = 0; n < 2; n++) {
        await connected.command(slot(room), [
          'EVALSHA',
          MOVE_USERS.sha,
          String(1 + parts.length),
          usersKey(room),
          ...parts,
          ...args
        ])
      }
      const right = (extra: number): Map<string, number> =>
        new Map(names.map((name, index) => [name, index === 0 || index === 99 ? 1 + extra : 1]))
      const read = async (): Promise<Map<string, number>> =>
        new Map(
          (await allUsers(store.users, room, 30)).map(({ user, messages }) => [user, messages])
        )
      t.strictSame(await read(), right(0))
      t.equal((await store.users.page(room, undefined, 10)).total, 100)
      const { store: stranger } = await openStore(t, cluster)
      await append(stranger, room, 'user 1', 'again')
      await append(stranger, room, 'user 100', 'again')
      await stranger.appender.settled()
      t.strictSame(await read(), right(1))
      t.equal(await connected.command(slot(room), ['HLEN', usersKey(room)]), 1)
    }
  }
)

t.test(
  `a room of ${LARGE.toLocaleString('en')} users with the longest names is written to, paged through and moved`,
  async t => {
    const service = await startService(t, { redisNodes: cluster.urls })
    const { store, cluster: connected } = await openStore(t, cluster)
    const room = freshRoom()
    const slot = roomSlot(room)
    await post(service.url, room, longName(0), 'the first')
    await store.users.split(room)
    // As invited users: counted, with no message.
    const byPart = new Map<number, string[]>()
    for (let n = 1; n < LARGE; n++) {
      const part = usersPart(longName(n))
      const names = byPart.get(part)
      if (names === undefined) byPart.set(part, [longName(n)])
      else names.push(longName(n))
    }
    for (const [part, names] of byPart) {
      await connected.command(slot, [
        'HSET',
        usersPartKey(room, part),
        ...names.flatMap(name => [name, '0'])
      ])
    }
    const admin = await Admin.connect(redisTarget(cluster.urls))
    t.teardown(() => {
      admin.close()
    })
    const bytes = await largestKey(admin, room)
    t.comment(`the largest key has ${bytes.toLocaleString('en')} bytes`)
    t.ok(bytes <= KEY_BYTES_MAX)

    for (const node of (await admin.look()).masters) {
      await admin.ask(node, 'CONFIG', 'SET', 'slowlog-log-slower-than', String(PAUSE_MS_MAX * 1000))
      await admin.ask(node, 'SLOWLOG', 'RESET')
    }

    const posts = timePosts(t, {
      url: service.url,
      room,
      // In turn somebody who is there already, and somebody new.
      users: sequence(1, POSTS_MAX).map(n => longName(n % 2 === 0 ? n : LARGE + n))
    })
    posts.during = 'writing'
    await sleep(3000)
    posts.during = 'paging'
    const seen = new Map<string, number>()
    for (let after: string | null = ''; after !== null;) {
      const { body } = await request(
        `${service.url}/rooms/${room}/users?limit=1000${after === '' ? '' : `&after=${encodeURIComponent(after)}`}`
      )
      // UsersAnswer in src/routes/schemas.ts.
      const page = body as unknown as { total: number; users: User[]; next: string | null }
      for (const { user, messages } of page.users) {
        if (seen.has(user)) t.fail(`${user} is on two pages`)
        seen.set(user, messages)
      }
      after = page.next
    }
    t.equal(
      sequence(0, LARGE - 1).filter(n => !seen.has(longName(n))).length,
      0,
      'everybody is on a page'
    )
    posts.during = 'asking for blocks'
    // Nearly no user has a block: a page ends after a number of users.
    const written = 1 + [...posts.times.values()].flat().length
    const keys = new Set<string>()
    let blocksAfter: string | null = ''
    for (let n = 0; n < BLOCK_PAGES && blocksAfter !== null; n++) {
      const { status, body } = await request(
        `${service.url}/rooms/${room}/blocks?limit=100${blocksAfter === '' ? '' : `&after=${encodeURIComponent(blocksAfter)}`}`
      )
      t.equal(status, 200)
      // BlocksAnswer in src/routes/schemas.ts.
      const page = body as unknown as { blocks: Array<{ key: string }>; next: string | null }
      for (const { key } of page.blocks) keys.add(key)
      blocksAfter = page.next
    }
    if (blocksAfter === null) t.ok(keys.size >= written, 'each writer has a block')
    else t.ok(LARGE > 900 * BLOCK_PAGES, 'pages are not shorter than necessary')

    posts.during = 'moving'
    const map = await admin.look()
    const from = map.ownerOf(slot) ?? ''
    const to = map.masters.find(({ id }) => id !== from)?.id ?? ''
    const begun = performance.now()
    const moved = await moveSlots(admin, [{ slot, from, to }])
    t.ok(moved.isComplete)
    t.comment(
      `its slot of ${moved.keysDone} keys was moved in ${((performance.now() - begun) / 1000).toFixed(1)} s, the longest batch took ${moved.batchMsMax.toFixed(1)} ms`
    )
    posts.during = 'written to again'
    await sleep(1000)
    const writers = await posts.stop()
    await until('all is counted', async () => {
      const counted = await Promise.all(writers.map(user => store.users.get(room, user)))
      return counted.every(count => count === 1)
    })
    t.equal(Number((await store.log.head(room))?.seq), 1 + writers.length)
    t.equal(await connected.command(slot, ['EXISTS', logKey(room)]), 1)
    for (const [what, each] of posts.times) {
      const sorted = each.sort((a, b) => a - b)
      t.comment(
        `POST while ${what}: ${sorted.length}, p50 ${sorted[Math.floor(sorted.length / 2)]?.toFixed(1)} ms, p99 ${sorted[Math.floor(sorted.length * 0.99)]?.toFixed(1)} ms, max ${sorted.at(-1)?.toFixed(1)} ms`
      )
    }
    const paused = await pauses(admin)
    for (const line of paused) t.comment(line)
    // This is a measurement, for a machine that does nothing else.
    if (process.env['LARGE_ROOM_USERS'] !== undefined) {
      t.ok(moved.batchMsMax < PAUSE_MS_MAX, 'no batch holds up its nodes for longer')
      t.strictSame(paused, [], 'no command does either')
    }
  }
)
