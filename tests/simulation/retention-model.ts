// Messages that expire, in seeds whose rooms keep them for a day or two. When everything else is
// judged, whole days pass in a moment: all clocks leap, as if the whole cluster had been suspended.
// Invariant: what has expired is on no page, no stream and in no key that counts, and what has not
// expired is on all of them. Readers that were away are told what they have missed.
import { logKey, parseKey } from '../../src/store/keys.js'
import { type Entry as ApiEntry, isChange, isDeleted, isLost } from '../../src/message/message.js'
import { DAY_MS, headOf, holderOf, isExpired, streamOf } from './durability.js'
import { type Post } from './plan.js'
import { RoomReader } from './room-reader.js'
import { isAtRest, whatIsLeft } from './settling.js'
import { type World } from './world.js'
import { write } from './writer.js'

const PAGE_LENGTH = 100
const AGAIN_MS = 100
/** A process that was paused in the storm, or a stalled connection, goes on within this time. */
const HELD_UP_MS_MAX = 10_000
/** A publication arrives within this time when all is quiet. */
const ON_THE_WAY_MS_MAX = 200

/** Runs the world until something is so. @returns whether it is, within a stated time */
export type Advance = (isDone: () => boolean) => boolean

export class RetentionModel {
  readonly #world: World
  readonly #advance: Advance
  readonly #keptMs: number
  readonly #batches: readonly (readonly Post[])[]

  constructor(world: World, days: number, posts: readonly Post[], advance: Advance) {
    this.#world = world
    this.#advance = advance
    this.#keptMs = days * DAY_MS
    this.#batches = [0, 1, 2].map(batch => posts.filter((_, index) => index % 3 === batch))
  }

  /** Lets time pass and writes in between. What is expected is known at each point. */
  run(): void {
    const world = this.#world
    const [first = [], second = [], third = []] = this.#batches
    for (const { source } of world.people) source.close()
    world.people.length = 0
    // What the storm has left expires, and the first batch does not. An attempt that was held up
    // must not be carried over a day: its idempotency key is forgotten then.
    this.#wait(HELD_UP_MS_MAX)
    this.#hold()
    this.#leap(0.6)
    this.#write(first)
    this.#leap(0.6)
    this.#release()
    this.#compare(first)
    // The second batch expires while all readers are away.
    this.#hold()
    this.#write(second)
    this.#leap(1.2)
    this.#write(third)
    this.#release()
    this.#compare(third)
    this.#leap(1.2)
    this.#compare([])
    this.#checkKeys()
  }

  #hold(): void {
    for (const source of this.#world.sources) source.hold()
  }

  #release(): void {
    const world = this.#world
    for (const source of world.sources) source.release()
    const name = `late-reader-${world.readers.length}`
    const read = {
      kind: 'read',
      instance: 0,
      rooms: world.plan.rooms,
      last: undefined,
      bytesPerMs: Infinity
    } as const
    world.readers.push(new RoomReader(world, name, read))
  }

  #leap(share: number): void {
    const { time, trace, sources } = this.#world
    this.#wait(ON_THE_WAY_MS_MAX)
    time.leap(share * this.#keptMs)
    for (const source of sources) source.forgive()
    trace.note(`${share} of the kept time pass`)
    this.#settle()
  }

  #wait(ms: number): void {
    const { time } = this.#world
    const until = time.now + ms
    this.#advance(() => time.now >= until)
  }

  #write(posts: readonly Post[]): void {
    const { oracle, requests } = this.#world
    for (const post of posts) {
      oracle.expect(post)
      requests.push(write(this.#world, post))
    }
    this.#settle()
  }

  #settle(): void {
    const { oracle } = this.#world
    if (oracle.found !== undefined || this.#advance(() => isAtRest(this.#world))) return
    oracle.violation(`after a leap in time: ${whatIsLeft(this.#world)}`)
  }

  // Each room has exactly these messages, on pages and for readers.
  #compare(posts: readonly Post[]): void {
    const world = this.#world
    this.#settle()
    for (const room of world.plan.rooms) {
      const wanted = posts.filter(post => post.room === room).map(({ text }) => text)
      const page = this.#page(room)
      if (page === undefined || world.oracle.found !== undefined) return
      // A POST of the storm that got no answer may be stored after a leap.
      const texts = page
        .filter(entry => wanted.includes(textOf(entry)) || isExpired(world, entry.ms))
        .map(entry => textOf(entry))
      if (texts.toSorted().join() !== wanted.toSorted().join()) {
        world.oracle.violation(
          `${room} has ${texts.join(', ') || 'nothing'}, and what has not expired is ${wanted.join(', ') || 'nothing'}`
        )
      }
      const head = headOf(world, room)
      for (const { name, last, seen } of world.readers) {
        const { next, entries } = seen.get(room) ?? {}
        if (next === undefined || entries === undefined) continue
        if (next !== head + 1) {
          world.oracle.violation(`${name} is at ${next - 1} of ${room} ${head}`)
        }
        // After a reset, a reader that asked for the newest messages gets only those.
        if (last !== undefined) continue
        const has = new Set(entries.map(entry => (entry.kind === 'message' ? entry.text : '')))
        const lacks = wanted.find(text => !has.has(text))
        if (lacks !== undefined) world.oracle.violation(`${name} was not sent ${lacks} of ${room}`)
      }
    }
  }

  #page(room: string): readonly ApiEntry[] | undefined {
    const world = this.#world
    const instance = world.instances.find(({ service }) => service !== undefined)
    let page: readonly ApiEntry[] | undefined
    const ask = (): void => {
      const store = instance?.service?.store
      const read = store
        ?.pageLog({ room, limit: PAGE_LENGTH })
        .then(async ({ log }) => await store.history.entries(room, log))
      read?.then(
        entries => {
          page = entries
        },
        (error: unknown) => {
          world.oracle.onFault(instance?.name ?? '', 'page', error)
          world.time.after(AGAIN_MS, ask)
        }
      )
    }
    world.time.after(0.1, ask, instance?.owner)
    if (!this.#advance(() => page !== undefined)) {
      world.oracle.violation(`a page of ${room} is not answered`)
    }
    return page
  }

  // A segment may be written and get its expiry at this very moment.
  #checkKeys(): void {
    if (this.#advance(() => this.#leftKey === undefined)) return
    this.#world.oracle.violation(`${this.#leftKey ?? ''}, and everything has expired`)
  }

  // Redis removes what has expired when somebody asks for it, or after a while. A segment of which
  // the tail still has entries was not sealed to the end, and gets its expiry when it is. One that
  // was written while its room was deleted has none.
  get #leftKey(): string | undefined {
    for (const node of this.#world.nodes) {
      if (!node.isMaster) continue
      for (const key of node.db.values.keys()) {
        const meaning = parseKey(key)
        const kind = meaning?.kind
        if (kind !== 'block' && kind !== 'changed' && kind !== 'segment') continue
        if (meaning?.kind === 'segment' && this.#needsNoExpiry(key, meaning)) continue
        if (!node.db.isExpired(key, node.clockMs)) return `${node.name} still has ${key}`
      }
    }
    return undefined
  }

  #needsNoExpiry(
    key: string,
    { room, segment }: { readonly room: string; readonly segment: number }
  ): boolean {
    const { rooms } = this.#world.oracle
    return (
      this.#isInTail(room, segment) ||
      (rooms.isOfDeleted(room, segment) && rooms.mayStay(key, room))
    )
  }

  #isInTail(room: string, segment: number): boolean {
    const key = logKey(room)
    const oldest = streamOf(holderOf(this.#world, key), key)?.entries[0]?.id[1]
    return oldest !== undefined && oldest <= (segment + 1) * this.#world.plan.service.segmentLength
  }
}

function textOf(entry: ApiEntry): string {
  if (isLost(entry)) return 'a lost one'
  if (isDeleted(entry)) return 'a deleted one'
  return isChange(entry) ? 'a change' : entry.text
}
