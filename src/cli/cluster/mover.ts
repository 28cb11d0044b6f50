// Moves slots with their keys from master to master while clients read and write, using Redis' own
// commands, a small group of slots at a time
// (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/, "Live
// reconfiguration"). For each group:
//
//    1 the target marks the slots IMPORTING
//    2 the source marks them MIGRATING
//    3 the keys move in batches, slot by slot: each MIGRATE is all or nothing
//    4 when the source has none left, the target takes the slots; when all nodes have heard it, the
//      target's replica too, the source removes its marks
//
// A crash after step 1 has changed nothing for clients. After step 2 and during step 3, the source
// redirects clients to the target for keys that have moved, so all keys can be reached. During step
// 4 the slots have one owner by the highest epoch, and no key is left behind. Repeating everything
// from step 1 completes the move in all cases. Errors are handled in the same way: look at the
// cluster, and repeat.
//
// Valkey 9 leaves a gap that this cannot close. If the target dies within milliseconds after taking
// a slot, its replica may just have heard from the source that the slot is still there. When the
// replica takes over, it deletes the slot's keys, as it does with all that it does not own. Seen in
// 2 of 4 such deaths on 9.1; never on Redis, nor on Valkey 8.
//
// Servers that can move slots atomically do it themselves (atomic.ts), in larger groups. Slots that
// are already half-moved, or of which the target has keys, are moved as above. Some servers need
// special care with the last slots (stale-notes.ts), or must be told of a failover of the source
// (reminders.ts). Which slots go where is decided in plan.ts; slots that somebody else left
// half-moved are found by half-moved.ts.
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../errors.js'
import { ConnectionLost } from '../../redis/connection.js'
import { type Admin } from './admin.js'
import { type AtomicWay, moveAtomically } from './atomic.js'
import { type Group, readGroups } from './groups.js'
import { KeyMover } from './key-mover.js'
import { countKeys } from './keys.js'
import { type ClusterMap, type MapNode, nodeText } from './map.js'
import { type Move } from './plan.js'
import { Refusal, Stuck } from './refusal.js'
import { remind } from './reminders.js'
import { keepReplicas } from './replica-migration.js'
import { slotsText } from './slots.js'
import { dropStuckReplicas } from './stuck-replicas.js'
import { Tempo } from './tempo.js'

export type MoveOptions = {
  /** Ends the work after the current slots; the result says what is left. */
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: MoveProgress) => void
  /** Moves key by key even if the servers can move slots themselves. */
  readonly isByKeys?: boolean
  /** 1 to 100, default 25: the percentage of time in which nodes are kept busy with moving. */
  readonly speed?: number
  /**
   * Gets a line for what the operator should know: errors that were overcome, copies that were
   * dropped.
   */
  readonly report?: (line: string) => void
}

export type MoveProgress = {
  readonly slotsDone: number
  readonly slotsTotal: number
  readonly keysDone: number
  /** As counted before; clients may add and delete some. */
  readonly keysTotal: number
  /** How often a group was started again. */
  readonly retries: number
}

export type MoveResult = MoveProgress & {
  readonly isComplete: boolean
  readonly rest: readonly Move[]
  /** The longest time for which two nodes were blocked. */
  readonly batchMsMax: number
  readonly elapsedMs: number
}

export const SPEED_DEFAULT = 25
const RETRY_MS = 200
/** How often the nodes are looked at, RETRY_MS apart, before a target that is not up is refused. */
const LOOKS_MAX = 5
/** How long to wait until every node has heard of a slot's new owner. */
const HEARD_MS_MAX = 5_000
/** Longer than a message between two nodes takes. */
const LATE_MS = 250
/** Long enough for a failover during a move. */
const STUCK_MS_MAX = 30_000
/** Errors that do not go away by themselves. */
const PERMANENT = /\b(NOAUTH|WRONGPASS|NOPERM|OOM|MISCONF|unknown command)\b/

/**
 * Moves slots. The cluster must be healthy, and nobody else may be changing it (`admin.claim`). In
 * the end, every node that answers knows the new owners.
 * @throws Refusal when a move is not from the owner to a living master, or when a node dies before
 * anything was moved; Stuck when it makes no progress. The same command continues it
 */
export async function moveSlots(
  admin: Admin,
  moves: readonly Move[],
  options: MoveOptions = {}
): Promise<MoveResult> {
  let map = await admin.look()
  // A busy node may be silent for a moment.
  for (let looks = 1; looks < LOOKS_MAX && moves.some(({ to }) => !isUp(map, to)); looks++) {
    await sleep(RETRY_MS)
    map = await admin.look()
  }
  return await new Mover(admin, map, options).move(moves)
}

function isUp(map: ClusterMap, id: string): boolean {
  const node = map.nodes.get(id)
  return node?.role === 'master' && node.state === 'up'
}

class Mover {
  readonly #admin: Admin
  readonly #options: MoveOptions
  readonly #tempo: Tempo
  readonly #keys: KeyMover
  readonly #start: ClusterMap
  /**
   * By slot, the source that this run marked MIGRATING while the target had no keys: until that
   * source is replaced, its copy of a key is the right one.
   */
  readonly #begunAt = new Map<number, string>()
  #map: ClusterMap
  #isByKeys: boolean
  #lastError = ''
  #progressAt = 0
  #progress: MoveProgress = { slotsDone: 0, slotsTotal: 0, keysDone: 0, keysTotal: 0, retries: 0 }

  constructor(admin: Admin, map: ClusterMap, options: MoveOptions) {
    this.#admin = admin
    this.#start = map
    this.#map = map
    this.#options = options
    this.#isByKeys = options.isByKeys === true
    this.#tempo = new Tempo(options.speed ?? SPEED_DEFAULT)
    this.#keys = new KeyMover(admin, this.#tempo, {
      onMoved: keys => {
        this.#advance({ keysDone: this.#progress.keysDone + keys })
      },
      report: line => {
        options.report?.(line)
      }
    })
  }

  async move(moves: readonly Move[]): Promise<MoveResult> {
    const startedMs = performance.now()
    this.#check(moves)
    const groups = await this.#readGroups(moves)
    const release = await keepReplicas(this.#admin, this.#map, this.#emptied(moves))
    let done = 0
    try {
      for (const group of groups) {
        if (this.#options.signal?.aborted === true) break
        if (group.isClosing === true) {
          await this.#untilHeard()
          await sleep(LATE_MS)
        }
        await this.#moveUntilDone(group)
        done++
        this.#advance({ slotsDone: this.#progress.slotsDone + group.slots.length })
      }
      // A replica that took over without knowing a slot would leave it to its dead master.
      await this.#untilHeard()
    } finally {
      await release()
    }
    const rest = groups
      .slice(done)
      .flatMap(({ from, to, slots }) => slots.map(slot => ({ slot, from, to })))
    return {
      ...this.#progress,
      isComplete: rest.length === 0,
      rest,
      batchMsMax: this.#tempo.batchMsMax,
      elapsedMs: performance.now() - startedMs
    }
  }

  #check(moves: readonly Move[]): void {
    for (const { slot, from, to } of moves) {
      if (!isUp(this.#map, to)) {
        throw new Refusal(`Slot ${slot} cannot go to ${to}: that is not a living master.`)
      }
      if (from === to || (this.#map.ownerOf(slot) !== from && this.#map.ownerOf(slot) !== to)) {
        throw new Refusal(`Slot ${slot} cannot be moved from ${from}: it is not there.`)
      }
    }
  }

  // The first questions to the nodes. Later errors are overcome: `#moveUntilDone` repeats the move.
  async #readGroups(moves: readonly Move[]): Promise<Group[]> {
    try {
      const groups = await readGroups(this.#admin, this.#map, moves, this.#isByKeys)
      this.#advance({
        slotsTotal: moves.length,
        keysTotal: groups.reduce((sum, { keys }) => sum + keys, 0)
      })
      return groups
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error
      throw new Refusal(`No slot was moved, because a node does not answer. ${error.message}.`, {
        cause: error
      })
    }
  }

  // Masters that will have no slots in the end.
  #emptied(moves: readonly Move[]): string[] {
    const leaving = new Set(moves.map(({ slot }) => slot))
    const sources = new Set(moves.map(({ from }) => from))
    return [...sources].filter(id => this.#map.slotsOf(id).every(slot => leaving.has(slot)))
  }

  #advance(change: Partial<MoveProgress>): void {
    this.#progress = { ...this.#progress, ...change }
    this.#progressAt = performance.now()
    this.#options.onProgress?.(this.#progress)
  }

  // Moves a group until it is done. Gives up if nothing has moved for long, and at once on an error
  // that will not go away. If the servers fail to move it themselves, for whatever reason, it is
  // moved key by key: a failed job has changed nothing.
  async #moveUntilDone(group: Group): Promise<void> {
    this.#progressAt = performance.now()
    for (let way = this.#isByKeys ? undefined : group.way; ; way = undefined) {
      try {
        return await (way === undefined ? this.#moveByKeys(group) : this.#moveByServers(group, way))
      } catch (error) {
        const isStuck = performance.now() - this.#progressAt > STUCK_MS_MAX
        if (
          error instanceof Refusal ||
          isStuck ||
          (way === undefined && PERMANENT.test(messageOf(error)))
        ) {
          throw new Stuck(
            `Slots ${slotsText(group.slots, 5)} are stuck half-moved: ${messageOf(error)}. Nothing is lost: the same command finishes them when the cause is gone.`,
            { cause: error }
          )
        }
        this.#progress = { ...this.#progress, retries: this.#progress.retries + 1 }
        if (way !== undefined) this.#isByKeys = true
        if (messageOf(error) !== this.#lastError) {
          this.#options.report?.(`Trying again: ${messageOf(error)}`)
        }
        this.#lastError = messageOf(error)
        if (messageOf(error).startsWith('NOREPLICAS')) await this.#freeFromReplicas(group)
      }
      await sleep(RETRY_MS)
      // If nothing answers, the last map is kept, and the next attempts fail until STUCK_MS_MAX.
      this.#map = await this.#admin.look().catch(() => this.#map)
      await this.#keys.settle(this.#map.nodes.get(group.to)).catch(() => undefined)
    }
  }

  async #freeFromReplicas({ from, to }: Group): Promise<void> {
    for (const id of [from, to]) {
      const lines = await dropStuckReplicas(this.#admin, this.#masterNow(id)).catch(() => [])
      for (const line of lines) this.#options.report?.(line)
    }
  }

  async #moveByServers({ from, to, slots, keys }: Group, way: AtomicWay): Promise<void> {
    const source = this.#masterNow(from)
    const target = this.#masterNow(to)
    const left = slots.filter(slot => this.#map.ownerOf(slot) !== target.id)
    if (left.length > 0) await moveAtomically(this.#admin, way, left, source, target)
    this.#map = await this.#admin.until(map => {
      const { disputed } = map
      const late = slots.find(slot => map.ownerOf(slot) !== target.id || disputed.includes(slot))
      return late === undefined
        ? undefined
        : `every node knows that slot ${late} is on ${nodeText(target)}`
    }, STUCK_MS_MAX)
    if (keys > 0) await this.#keys.confirm(slots, target)
    this.#advance({ keysDone: this.#progress.keysDone + keys })
  }

  async #moveByKeys({ from, to, slots }: Group): Promise<void> {
    const source = this.#masterNow(from)
    const target = this.#masterNow(to)
    const mine = slots.filter(slot => !this.#isOnOldMaster(slot, to, target))
    // If a group is started again, the target may already have taken some slots; these only need to
    // be announced.
    const left = mine.filter(slot => this.#map.ownerOf(slot) !== target.id)
    const strange = left.find(slot => this.#map.ownerOf(slot) !== source.id)
    if (strange !== undefined) {
      throw new Refusal(
        `slot ${strange} belongs to ${this.#map.ownerOf(strange) ?? 'nobody'} now, somebody else has moved it`
      )
    }
    const startedMs = performance.now()
    const contested = await this.#mark(left, source, target)
    await this.#tempo.rest(performance.now() - startedMs)
    await this.#keys.move(left, source, target, contested)
    const emptyMs = performance.now()
    await this.#assign(mine, source, target)
    await this.#tempo.rest(performance.now() - emptyMs)
  }

  // A target that died right after it took a slot may come back with it, if its replica took over
  // without having heard of that.
  #isOnOldMaster(slot: number, to: string, target: MapNode): boolean {
    const owner = this.#map.nodes.get(this.#map.ownerOf(slot) ?? '')
    if (owner === undefined || owner.id === target.id || !this.#isOfShard(owner, to)) return false
    if (owner.state !== 'up') {
      throw new Error(`slot ${slot} is on ${nodeText(owner)}, which does not answer`)
    }
    return true
  }

  // Whether a node belongs to the shard that this master had at the start.
  #isOfShard({ id, masterId }: MapNode, master: string): boolean {
    return id === master || masterId === master || this.#start.nodes.get(id)?.masterId === master
  }

  // Since the start, a master may have been replaced by a replica and still be listed as dead.
  #masterNow(id: string): MapNode {
    const living = this.#map.masters.filter(
      node => node.state === 'up' && this.#isOfShard(node, id)
    )
    const [master] = living.sort(
      (a, b) => this.#map.slotsOf(b.id).length - this.#map.slotsOf(a.id).length
    )
    if (master === undefined) {
      throw new Error(`master ${id.slice(0, 8)} does not answer, and no replica has taken over`)
    }
    return master
  }

  // The contested slots (conflict.ts): the target has keys of them, and this run did not mark them
  // on this source before those keys went there. A mark that is found proves nothing: whoever set
  // it may have found keys on the target, and died. Keys are counted once the target marks the
  // slots as importing, because Redis 8.6 hides keys of other slots. Clients are not sent to the
  // target before the source marks them.
  async #mark(slots: readonly number[], source: MapNode, target: MapNode): Promise<Set<number>> {
    const setSlot = (state: string, id: string): string[][] =>
      slots.map(slot => ['CLUSTER', 'SETSLOT', String(slot), state, id])
    await remind(this.#admin, this.#map, target, slots)
    await this.#admin.askAll(target, setSlot('IMPORTING', source.id))
    const unsure = slots.filter(
      slot => !source.migrating.has(slot) || this.#begunAt.get(slot) !== source.id
    )
    const counts = await countKeys(this.#admin, target, unsure)
    const contested = new Set(unsure.filter((_, index) => (counts[index] ?? 0) > 0))
    for (const slot of unsure) {
      if (contested.has(slot)) this.#begunAt.delete(slot)
      else this.#begunAt.set(slot, source.id)
    }
    await this.#admin.askAll(source, setSlot('MIGRATING', target.id))
    return contested
  }

  // The target first: if the source came first and the target died then, nobody would own the
  // slots. The source hears it from the target like everybody else. If the target dies before its
  // replica has heard it, the source still owns the slots, and the move is repeated.
  async #assign(slots: readonly number[], source: MapNode, target: MapNode): Promise<void> {
    const filled = (await countKeys(this.#admin, source, slots)).findIndex(count => count > 0)
    if (filled >= 0) throw new Error(`slot ${slots[filled]} has keys again on ${nodeText(source)}`)
    const setSlot = slots.map(slot => ['CLUSTER', 'SETSLOT', String(slot), 'NODE', target.id])
    await this.#admin.askAll(target, setSlot)
    await this.#untilHeard(slots)
    // Removes its MIGRATING marks.
    await this.#admin.askAll(source, setSlot)
  }

  // Waits for every node that answers, but for none longer than HEARD_MS_MAX.
  async #untilHeard(slots?: readonly number[]): Promise<void> {
    const missing = ({ disputed }: ClusterMap): string | undefined =>
      disputed.some(slot => slots === undefined || slots.includes(slot))
        ? 'all nodes have heard of the new owners'
        : undefined
    await this.#admin.until(missing, HEARD_MS_MAX).catch(() => undefined)
  }
}
