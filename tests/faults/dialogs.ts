// What people do in their dialogs (post, change, delete, read, invite, leave, delete a room),
// through two processes that are killed, while masters die, connections break, slots move, and
// hosts are cut off from each other (as root: each node has a host of its own, a network
// namespace). At the end every page, stream, list and unread number is what a plain model says, and
// what was deleted is in no key of any node.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { redisTarget } from '../../src/config/redis-target.js'
import { finishHalfMoved } from '../../src/cli/cluster/half-moved.js'
import { randomFrom } from '../../src/cli/zipf.js'
import { messageOf } from '../../src/errors.js'
import { slotOf } from '../../src/redis/slots.js'
import { unfinishedKey, UNFINISHED_PLACES } from '../../src/store/keys.js'
import {
  killConnections,
  killMaster,
  moveSome,
  restartService,
  revive,
  type Scene
} from '../drills/faults.js'
import { Hosts } from '../drills/hosts.js'
import { HOSTS, PARTITION_ENV } from '../drills/partitions.js'
import { World } from '../drills/world.js'
import { ChatModel } from '../support/chat-model.js'
import { checkRoom } from '../support/check-room.js'
import { readAll, request, sequence, type Answer } from '../support/client.js'
import { everythingIn } from '../support/embedded.js'
import { PersonFollower, RoomFollower } from '../support/followers.js'
import { openStore } from '../support/store.js'
import { until } from '../support/until.js'

const SEED = Number(process.env['SEED'] ?? 1)
const PEOPLE = 8
const ROOMS = 5
/** A pause between two operations of a person. */
const PAUSE_MS_MAX = 60
const ANSWER_MS_MAX = 120_000
const MOVED_MS_MAX = 120_000
/** An abandoned deletion is finished within 6.5 deadlines: with the default deadline after 65 s. */
const DEADLINE_MS = 4000
/** Longer than it takes a replica to take over from a master that is cut off. */
const CUT_MS = 6000

const hostless = Hosts.unavailable()
const hosts = hostless === undefined ? await Hosts.make(HOSTS) : undefined
t.teardown(() => {
  hosts?.remove()
})
const world = await World.start({
  services: 2,
  ...(hosts === undefined ? {} : { hosts }),
  env: {
    LOST_PATIENCE_MS: PARTITION_ENV.LOST_PATIENCE_MS,
    DRAIN_MS: '200',
    STORE_DEADLINE_MS: String(DEADLINE_MS),
    SEGMENT_LENGTH: '64',
    BLOCK_LENGTH: '20'
  },
  report: line => {
    t.comment(line)
  }
})
t.teardown(() => world.stop())
const random = randomFrom(SEED)
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
const scene: Scene = { world, pick, random }

const suffix = randomUUID().slice(0, 6)
const people = sequence(1, PEOPLE).map(n => `person-${n}-${suffix}`)
const rooms = sequence(1, ROOMS).map(n => `room-${n}-${suffix}`)
const model = new ChatModel()
const faults: string[] = []
const counts = new Map<string, number>()

/** Asks one service after the other until one has a definite answer. */
async function ask(
  method: string,
  path: string,
  body?: Readonly<Record<string, unknown>>,
  key?: string
): Promise<Answer> {
  const deadline = performance.now() + ANSWER_MS_MAX
  for (let turn = Math.floor(random() * 2); ; turn++) {
    const answer = await request(`${world.urls[turn % 2]}${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(key === undefined ? {} : { 'idempotency-key': key })
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    }).catch(() => undefined)
    if (answer !== undefined && answer.status < 500) return answer
    if (performance.now() > deadline) {
      throw new Error(`${method} ${path} has no answer: ${JSON.stringify(answer?.body)}`)
    }
    await sleep(50)
  }
}

/** Deleting a room excludes joining, leaving and reading there, not writing. */
class Exclusion {
  #last: Promise<unknown> = Promise.resolve()

  async run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => undefined)
    return await result
  }
}
const exclusions = new Map(rooms.map(room => [room, new Exclusion()]))
const exclusively = async (room: string, work: () => Promise<void>): Promise<void> => {
  await exclusions.get(room)?.run(work)
}

const pathOf = (room: string, ...rest: ReadonlyArray<string | number>): string =>
  ['', 'rooms', room, ...rest].join('/')

function unexpected(what: string, { status, body }: Answer): void {
  faults.push(`${what} was answered ${status} ${JSON.stringify(body)}`)
}

async function postIn(room: string, user: string): Promise<void> {
  const text = `text-${randomUUID()}`
  model.tries(text)
  // Without a key a repetition might store it twice.
  const answer = await ask('POST', pathOf(room, 'messages'), { user, text }, randomUUID())
  if (answer.status === 200 || answer.status === 201) {
    model.posted(room, Number(answer.body['seq']), user, text)
  } else if (answer.status !== 410) unexpected('a post', answer)
}

async function changeIn(room: string, user: string, isDeletion: boolean): Promise<void> {
  const seq = model.ownOf(room, user, Math.floor(random() * 6))
  if (seq === undefined) return
  const text = isDeletion ? undefined : `text-${randomUUID()}`
  if (text !== undefined) model.tries(text)
  const answer = isDeletion
    ? await ask('DELETE', `${pathOf(room, 'messages', seq)}?user=${user}`, undefined, randomUUID())
    : await ask('PATCH', pathOf(room, 'messages', seq), { user, text }, randomUUID())
  if (answer.status === 200) model.changed(room, Number(answer.body['seq']), seq, text)
  // Only its author changes it, one change at a time. So a 410 means that its room was deleted.
  else if (answer.status !== 410) unexpected(`a change of ${seq}`, answer)
  else await until('the room is deleted', () => model.goneTo(room) >= seq)
}

const joinIn = (room: string, user: string): Promise<void> =>
  exclusively(room, async () => {
    const answer = await ask('PUT', pathOf(room, 'users', user))
    if (answer.status > 201) unexpected('joining', answer)
    model.joined(room, user)
  })

const leaveIn = (room: string, user: string): Promise<void> =>
  exclusively(room, async () => {
    const answer = await ask('DELETE', pathOf(room, 'users', user))
    // A repeated request gets 404 if the first one has removed the user.
    if (answer.status !== 200 && answer.status !== 404) unexpected('leaving', answer)
    model.left(room, user)
  })

const readIn = (room: string, user: string): Promise<void> =>
  exclusively(room, async () => {
    if (!model.isMember(room, user)) return
    const seq = Math.ceil(model.headOf(room) * random())
    const answer = await ask('PUT', pathOf(room, 'users', user, 'read'), { seq })
    if (answer.status !== 200) unexpected(`reading of ${user}`, answer)
    model.read(room, user, seq)
  })

const deleteRoom = (room: string): Promise<void> =>
  exclusively(room, async () => {
    const answer = await ask('DELETE', pathOf(room))
    if (answer.status === 200) model.deleted(room, Number(answer.body['head']))
    else if (answer.status !== 404) unexpected('deleting a room', answer)
  })

const operations: ReadonlyArray<
  readonly [weight: number, name: string, run: (room: string, user: string) => Promise<void>]
> = [
  [40, 'post', postIn],
  [10, 'change', (room, user) => changeIn(room, user, false)],
  [8, 'delete', (room, user) => changeIn(room, user, true)],
  [8, 'read', readIn],
  [4, 'join', joinIn],
  [3, 'leave', leaveIn],
  [1, 'delete room', deleteRoom]
]
const weights = operations.reduce((sum, [weight]) => sum + weight, 0)

async function live(user: string, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    let left = random() * weights
    const [, name, run] = operations.find(([weight]) => (left -= weight) < 0) ?? operations[0]!
    await run(pick(rooms), user)
    counts.set(name, (counts.get(name) ?? 0) + 1)
    await sleep(random() * PAUSE_MS_MAX)
  }
}

/** As an operator does: if a master dies and interrupts the move, finishes it when it is back. */
async function moveAndFinish(count: number): Promise<void> {
  try {
    await moveSome(scene, count)
  } catch (error) {
    world.did(`the move is interrupted: ${messageOf(error)}`)
    // Does not wait for a healthy cluster first: a slot that nobody serves may be why it is not
    // healthy.
    await until(
      'it is finished',
      async () => {
        const finished = world.administer(admin => finishHalfMoved(admin))
        return await finished.then(
          done => done === undefined || done.isComplete,
          () => false
        )
      },
      MOVED_MS_MAX
    )
    await world.operator.untilHealthy()
  }
}

type Cut = (hosts: Hosts, master: number) => Promise<void>

/** The services are on the first and the last host. */
const CUTS: ReadonlyArray<readonly [what: string, cut: Cut]> = [
  ["a master's host", (hosts, master) => hosts.isolate(master)],
  ['the hosts of a master and of a service', (hosts, master) => hosts.isolate(0, master)],
  ['a service from a master', (hosts, master) => hosts.cut(HOSTS - 1, master)],
  ['the other service from everybody', hosts => hosts.isolate(HOSTS - 1)]
]

const cutOff: string[] = []

async function cutHostsOff(): Promise<void> {
  if (hosts === undefined) return
  for (const [what, cut] of CUTS) {
    const { process } = pick(await world.operator.masters())
    await cut(hosts, hosts.indexOf(process.host))
    cutOff.push(what)
    world.did(`cut off: ${what} (the master ${process.host})`)
    await sleep(CUT_MS)
    await hosts.heal()
    world.did('healed')
    await world.operator.untilHealthy()
    await sleep(1000)
  }
}

async function breakEverything(followers: ReadonlyArray<{ cut: () => void }>): Promise<void> {
  await sleep(1500)
  await killConnections(scene, 'normal', 2)
  await killConnections(scene, 'pubsub', 2)
  for (const follower of followers) if (random() < 0.5) follower.cut()
  await restartService(scene, 'SIGKILL')
  await moveSome(scene, 300)
  await revive(scene, (await killMaster(scene)).dead)
  await Promise.all([moveSome(scene, 600), restartService(scene, 'SIGKILL')])
  for (const count of [1200, 800]) {
    const moving = moveAndFinish(count)
    await sleep(300 + 700 * random())
    const { dead } = await killMaster(scene)
    await revive(scene, dead)
    await moving
  }
  await restartService(scene, 'SIGTERM')
  await cutHostsOff()
  await sleep(1500)
}

t.test('whatever people do and whatever fails, the service equals the model', async t => {
  const roomFollowers = rooms.flatMap(room =>
    [0, 1].map(first => new RoomFollower(world.urls, room, first))
  )
  const personFollowers = people.map((user, n) => new PersonFollower(world.urls, user, n))
  const followers = [...roomFollowers, ...personFollowers]
  t.teardown(() => {
    for (const follower of followers) follower.stop()
  })
  let isOver = false
  const living = Promise.all(people.map(user => live(user, () => isOver)))
  living.catch(() => undefined)
  await breakEverything(followers)
  isOver = true
  await living
  t.comment([...counts].map(([name, count]) => `${name} ${count}`).join(', '))
  t.strictSame(faults, [], 'every answer was an allowed one')
  for (const [, name] of operations) t.ok((counts.get(name) ?? 0) > 3, `${name} was tried`)

  await t.test('every page equals the model', async t => {
    for (const url of world.urls) {
      for (const room of rooms) {
        t.strictSame((await readAll(url, room)).map(plain), model.entries(room))
        t.match(await request(url + pathOf(room, 'messages')), {
          body: { head: model.headOf(room) }
        })
      }
    }
  })
  await t.test('every stream equals the model', async t => {
    for (const follower of roomFollowers) {
      const expected = JSON.stringify(model.entries(follower.room))
      await until('it has everything', () => JSON.stringify(follower.entries) === expected).catch(
        () => undefined
      )
      t.strictSame(follower.entries, model.entries(follower.room))
      t.strictSame(follower.faults, [])
    }
  })
  const shape = { segmentLength: 64, blockLength: 20 }
  // Not as the service's user: the check scans.
  const { store, cluster } = await openStore(
    t,
    world.cluster,
    shape,
    redisTarget(world.cluster.urls)
  )
  await t.test('processes finish deletions that others have started', async () => {
    await until(
      'no deletion is unfinished',
      async () => {
        for (const place of sequence(0, UNFINISHED_PLACES - 1)) {
          const key = unfinishedKey(place)
          const left = (await cluster.command(slotOf(key), [
            'ZRANGE',
            key,
            '0',
            '-1'
          ])) as readonly string[]
          if (left.length > 0) return false
        }
        return true
      },
      20 * DEADLINE_MS
    )
  })
  await t.test('the check finds what a crash may leave, and repairs it', async t => {
    const allowed = ['unlisted', 'counter', 'orphan', 'leftover', 'half-sealed', 'untold']
    for (const room of rooms) {
      const check = async (isRepairing: boolean): Promise<string[]> => {
        const { findings } = await checkRoom({ store, cluster }, room, {
          isRepairing,
          orphanAgeMs: 0,
          settleMs: 0
        })
        return findings.map(({ kind, examples }) => `${kind} ${examples.join(' ')}`)
      }
      const found = await check(true)
      for (const line of found) t.comment(`${room}: ${line}`)
      t.strictSame(
        found.filter(line => !allowed.some(kind => line.startsWith(kind))),
        [],
        'nothing else'
      )
      t.strictSame(await check(false), [], 'it is mended')
    }
  })
  await t.test('every list and every unread number equals the model', async t => {
    for (const url of world.urls) {
      for (const user of people) {
        const { body } = await request(`${url}/users/${user}/rooms`)
        const dialogs = (body['rooms'] as Array<Record<string, unknown>>)
          .map(({ room, head, unread, last }) => ({
            room,
            head,
            unread,
            last: last === null ? null : plain(last as Record<string, unknown>)
          }))
          .sort((a, b) => (String(a.room) < String(b.room) ? -1 : 1))
        t.strictSame(dialogs, model.dialogs(user))
      }
      for (const room of rooms) {
        const { body } = await request(`${url}${pathOf(room, 'users')}?limit=1000`)
        // Their numbers of messages were compared with the log by the check.
        const users = (body['users'] as Array<{ user: string }>).map(({ user }) => user)
        t.strictSame(users.sort(), model.members(room))
      }
    }
  })
  await t.test("every person's stream equals the model", async t => {
    for (const follower of personFollowers) {
      const expected = model
        .dialogs(follower.user)
        .map(({ room, head, unread }) => ({ room, head, unread }))
      await until(
        'it has every dialog',
        () => JSON.stringify(follower.dialogs) === JSON.stringify(expected)
      ).catch(() => undefined)
      t.strictSame(follower.dialogs, expected)
    }
  })
  await t.test('what is gone is in no key', async t => {
    const keys = await everythingIn(world.cluster)
    const gone = model.gone()
    t.ok(gone.length > 50, `${gone.length} texts are gone`)
    t.strictSame(
      gone.filter(text => keys.includes(text)),
      []
    )
  })
})

t.test('hosts were cut off from each other meanwhile', { skip: hostless ?? false }, async t => {
  t.strictSame(
    cutOff,
    CUTS.map(([what]) => what)
  )
})

function plain(entry: Record<string, unknown>): unknown {
  const { seq, user, text, changes, deleted } = entry
  if (changes !== undefined) {
    return { seq, changes, text: deleted === true ? undefined : text }
  }
  return deleted === true ? { seq, deleted } : { seq, user, text }
}
