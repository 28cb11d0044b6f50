// Random operations of several people through the stores of two processes, against a plain model in
// memory. After each operation, everybody's list equals the model.
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { readConfig } from '../../src/config.js'
import { DialogsError } from '../../src/errors.js'
import { Subscriber } from '../../src/redis/subscriber.js'
import { asServiceUser } from '../../src/embedded/redis-conf.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { type Store } from '../../src/store/store.js'
import { startCluster } from '../support/embedded.js'
import { append, openStore } from '../support/store.js'
import { until } from '../support/until.js'

const RUNS = Number(process.env['DIALOGS_MODEL_RUNS'] ?? 12)

const cluster = await startCluster(t)

/** A store that hears of removals in other processes. */
async function open(t: Test): Promise<Store> {
  const opened = await openStore(t, cluster)
  const subscriber = new Subscriber(
    opened.cluster,
    { ...redisTarget(cluster.urls.map(asServiceUser)), ...readConfig({}).cluster },
    { lost: () => undefined }
  )
  t.teardown(() => {
    subscriber.close()
  })
  opened.store.members.listen(subscriber)
  t.teardown(() => opened.store.settled())
  return opened.store
}

const USERS = ['ann', 'bob', 'cyd']
const ROOMS = ['red', 'green', 'blue']
const user = fc.constantFrom(...USERS)
const room = fc.constantFrom(...ROOMS)
const process_ = fc.nat({ max: 1 })
const operation = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('post' as const), user, room, process_ }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('join' as const), user, room, process_ }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('leave' as const), user, room, process_ })
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('delete' as const), user, room, process_ })
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('read' as const),
      user,
      room,
      process_,
      seq: fc.nat({ max: 12 })
    })
  }
)

class Model {
  /** The authors of the messages that still exist; the first one's sequence comes after `#gone`. */
  readonly #logs = new Map<string, string[]>()
  readonly #gone = new Map<string, number>()
  readonly #members = new Set<string>()
  readonly #read = new Map<string, number>()

  post(room: string, user: string): void {
    this.#logs.set(room, [...this.#log(room), user])
    this.join(room, user)
  }

  join(room: string, user: string): void {
    this.#members.add(`${room} ${user}`)
  }

  leave(room: string, user: string): void {
    this.#members.delete(`${room} ${user}`)
    this.#read.delete(`${room} ${user}`)
  }

  /** @param head what the service says, or undefined if it knows no such room */
  delete(room: string, head: number | undefined): void {
    const before = this.#head(room)
    const members = [...this.#members].filter(key => key.startsWith(`${room} `))
    const isEmpty = this.#log(room).length === 0 && members.length === 0
    // Whoever had written and left is known still, and makes it a room.
    const allowed = [
      ...(isEmpty ? [before === 0 ? undefined : before] : []),
      Math.max(2, before + 1)
    ]
    if (!allowed.includes(head)) throw new Error(`deleted up to ${head}, not ${allowed.join()}`)
    if (head !== undefined) this.#gone.set(room, head)
    this.#logs.delete(room)
    for (const key of members) {
      this.#members.delete(key)
      this.#read.delete(key)
    }
  }

  /** @returns the mark; undefined for a user who is not a member */
  mark(room: string, user: string, seq: number): number | undefined {
    const key = `${room} ${user}`
    if (!this.#members.has(key)) return undefined
    const read = Math.max(this.#read.get(key) ?? 0, Math.min(seq, this.#head(room)))
    this.#read.set(key, read)
    return read
  }

  list(user: string): unknown[] {
    return ROOMS.filter(room => this.#members.has(`${room} ${user}`)).map(room => {
      const log = this.#log(room)
      const read = this.#read.get(`${room} ${user}`) ?? 0
      const since = Math.max(0, read - (this.#gone.get(room) ?? 0))
      const unread = log.slice(since).filter(author => author !== user).length
      return { room, head: this.#head(room), read, unread, last: log.at(-1) ?? null }
    })
  }

  #head(room: string): number {
    return (this.#gone.get(room) ?? 0) + this.#log(room).length
  }

  #log(room: string): readonly string[] {
    return this.#logs.get(room) ?? []
  }
}

t.test('whatever people do, everybody sees what the model says, in both processes', async t => {
  const stores = [await open(t), await open(t)]
  let operations = 0
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 30 }), async all => {
      const suffix = `-${randomUUID().slice(0, 8)}`
      const model = new Model()
      for (const { kind, user, room, process_, ...rest } of all) {
        operations++
        const store = stores[process_] as Store
        const names = [`${room}${suffix}`, `${user}${suffix}`] as const
        if (kind === 'post') {
          await append(store, names[0], names[1], 'text')
          await store.listUpdates.settled(names[1])
          model.post(room, user)
        } else if (kind === 'join') {
          await store.members.join(...names)
          model.join(room, user)
        } else if (kind === 'leave') {
          await store.members.leave(...names)
          model.leave(room, user)
        } else if (kind === 'delete') {
          const deletion = await store.deletions.delete(names[0]).catch((error: unknown) => {
            if (error instanceof DialogsError && error.code === 'ROOM_NOT_FOUND') return undefined
            throw error
          })
          if (deletion !== undefined && !deletion.isClean) throw new Error('it is not clean')
          model.delete(room, deletion?.seq)
        } else {
          const seq = (rest as { readonly seq: number }).seq
          const read = model.mark(room, user, seq)
          const isMember = read !== undefined
          // The other process hears of a removal a moment later.
          await until('the membership is known', async () => {
            return (await store.members.isMember(...names)) === isMember
          })
          const marked = await store.inbox.markRead(names[1], names[0], seq)
          if (marked?.read !== read) throw new Error(`marked ${marked?.read}, not ${read}`)
        }
        for (const store of stores) {
          for (const user of USERS) {
            const expected = JSON.stringify(model.list(user))
            let seen = ''
            await until(
              `${user} sees what the model says`,
              async () => {
                seen = JSON.stringify(await listOf(store, user, suffix))
                return seen === expected
              },
              2000
            ).catch((error: unknown) => {
              throw new Error(`${user} sees ${seen}, not ${expected}`, { cause: error })
            })
          }
        }
      }
    }),
    { numRuns: RUNS }
  )
  t.comment(`${operations} operations`)
})

async function listOf(store: Store, user: string, suffix: string): Promise<unknown[]> {
  const { dialogs } = await store.inbox.page(`${user}${suffix}`, undefined, 50, 1e6)
  return dialogs
    .map(({ room, head, read, unread, last }) => ({
      room: room.replace(suffix, ''),
      head,
      read,
      unread,
      last: (JSON.parse(last) as { readonly user: string } | null)?.user.replace(suffix, '') ?? null
    }))
    .sort((a, b) => ROOMS.indexOf(a.room) - ROOMS.indexOf(b.room))
}
