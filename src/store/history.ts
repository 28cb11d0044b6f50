// Reads messages: takes their references from the log, groups them by block, and reads each block
// with one XRANGE, all blocks at the same time. Invariant: every sequence asked for, up to the
// head, is returned exactly once, in order, at least as deleted or lost. The cost depends on the
// length of the page and not on the size of the room.
import { setTimeout as sleep } from 'node:timers/promises'
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { blockKey, changedKey } from './keys.js'
import { slotOf } from '../redis/slots.js'
import { CLOCKS_APART_MS_MAX, type Log } from './log.js'
import { type LogEntry } from './pieces.js'
import { isLost, parseReference, type Entry, type Reference } from '../message/message.js'
import { type BlockEntry, BlockRun } from './block-run.js'
import { changedEntry, type ChangedText, parseChanged } from './changed-text.js'

/**
 * A missing text is waited for only if its message is no older than this. An older one counts as
 * lost at once: its POST ended 30 s ago, unless STORE_DEADLINE_MS was raised to more than that. The
 * time in the message is that of a Redis node, so the clocks may make it look older than it is.
 */
export const FRESH_MS = 30_000 + CLOCKS_APART_MS_MAX
const LOOK_AGAIN_MS = 50

export class History {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #lostPatienceMs: number
  readonly #reading = new Map<string, Promise<Entry[]>>()
  #reads = 0

  /**
   * @param lostPatienceMs how long a page waits for the text of a new message that is in the log
   * but not in its block
   */
  constructor(cluster: Cluster, log: Log, lostPatienceMs: number) {
    this.#cluster = cluster
    this.#log = log
    this.#lostPatienceMs = lostPatienceMs
  }

  /** Reads that went to the store since the start; a shared read counts once. */
  get reads(): number {
    return this.#reads
  }

  /**
   * The messages from `from` to `to`, both inclusive; sequences beyond the head are left out.
   * Identical reads in flight are shared.
   * @param epoch the room's epoch: reads are shared only within one epoch
   * @throws DialogsError STORE_UNAVAILABLE if a segment or a text exists but is out of reach;
   * otherwise as Cluster.read
   */
  async range(room: string, from: number, to: number, epoch = 0): Promise<Entry[]> {
    const key = `${epoch} ${from} ${to} ${room}`
    const earlier = this.#reading.get(key)
    if (earlier !== undefined) {
      const entries = await earlier
      // A complete range never changes. If this one is incomplete, the rest may have been committed
      // after the read began and before this call.
      if (entries.at(-1)?.seq === to) return entries
    }
    let reading = this.#reading.get(key)
    if (reading === undefined) {
      this.#reads++
      reading = this.#range(room, from, to).finally(() => {
        this.#reading.delete(key)
      })
      this.#reading.set(key, reading)
    }
    return await reading
  }

  /**
   * The messages of some log entries, in the same order. Not shared, because a page must not be
   * older than its request.
   */
  async entries(room: string, log: readonly LogEntry[]): Promise<Entry[]> {
    this.#reads++
    return await this.#messages(room, log)
  }

  /**
   * One message as it is now, without waiting for a text that its writer may put back. Undefined
   * beyond the head.
   */
  async glance(room: string, seq: number): Promise<Entry | undefined> {
    return (await this.#look(room, await this.#log.range(room, seq, seq)))[0]
  }

  async #range(room: string, from: number, to: number): Promise<Entry[]> {
    return await this.#messages(room, await this.#log.range(room, from, to))
  }

  // After a failover a new text may be missing although its entry is in the log. The writer has no
  // acknowledgement for it yet and will put it back (BlockWriter.putBack), so a page waits a short
  // time. A text that stays missing, or whose message is older, is lost.
  async #messages(room: string, log: readonly LogEntry[]): Promise<Entry[]> {
    const until = performance.now() + this.#lostPatienceMs
    for (;;) {
      const entries = await this.#look(room, log)
      const isFresh = entries.some(entry => isLost(entry) && entry.ms > Date.now() - FRESH_MS)
      if (!isFresh || performance.now() >= until) return entries
      await sleep(LOOK_AGAIN_MS)
    }
  }

  // A reader is told only once that a message is lost, and never that it is back. So this must be
  // certain: the block is not on another node, and the texts are still missing when it is read
  // again after that. A move that ended between the two reads has brought them here.
  async #look(room: string, log: readonly LogEntry[]): Promise<Entry[]> {
    const first = await this.#read(room, log)
    if (first.lost.size === 0) return first.entries
    await this.#refuseIfStranded(room, first.lost)
    const second = await this.#read(room, log)
    if (second.lost.size === 0) return second.entries
    // The room may have been deleted, or its messages have expired, since the log was read.
    const from = await this.#log.first(room)
    return second.entries.filter(({ seq }) => seq >= from)
  }

  /** The entries, and the tags of the blocks that lack a text. */
  async #read(
    room: string,
    log: readonly LogEntry[]
  ): Promise<{ readonly entries: Entry[]; readonly lost: ReadonlySet<string> }> {
    const runs = new Map<string, BlockRun>()
    const places = log.map(({ reference }) =>
      reference === undefined ? undefined : placeOf(parseReference(reference), runs)
    )
    await Promise.all(
      [...runs].map(async ([tag, run]) => {
        const key = blockKey(room, tag)
        run.found(
          (await this.#cluster.read(slotOf(key), [
            'XRANGE',
            key,
            run.first.id,
            run.last.id
          ])) as readonly BlockEntry[]
        )
      })
    )
    const missing = new Map<string, Set<string>>()
    const entries = log.map(({ seq }, index): Entry => {
      const place = places[index]
      if (place === undefined) return { room, seq, ms: 0, lost: true }
      const { tag, user, id, ms, change } = place.reference
      const text = change === undefined ? place.run?.textOf(id) : undefined
      if (text !== undefined) return { room, seq, user, text, ms }
      const ids = missing.get(tag)
      if (ids === undefined) missing.set(tag, new Set([id]))
      else ids.add(id)
      return { room, seq, ms, lost: true }
    })
    const lost = new Set<string>()
    if (missing.size === 0) return { entries, lost }
    const changes = await this.#changes(room, missing)
    const shown = entries.map((entry, index) => {
      const place = places[index]
      if (place === undefined || !isLost(entry)) return entry
      const found = changedEntry(
        room,
        entry.seq,
        place.reference,
        changes.get(`${place.reference.tag}/${place.reference.id}`)
      )
      if (isLost(found)) lost.add(place.reference.tag)
      return found
    })
    return { entries: shown, lost }
  }

  async #refuseIfStranded(room: string, tags: ReadonlySet<string>): Promise<void> {
    const stranded = await Promise.all(
      [...tags]
        .map(tag => blockKey(room, tag))
        .flatMap(key => [key, changedKey(key)])
        .map(key => this.#cluster.isStranded(key))
    )
    if (!stranded.includes(true)) return
    throw new DialogsError(
      'STORE_UNAVAILABLE',
      'Texts of the room are out of reach because the slot of their block is half-moved: run npm run cluster -- finish'
    )
  }

  /** What became of messages that are not in their blocks, by `<tag>/<entry id>`. */
  async #changes(
    room: string,
    missing: ReadonlyMap<string, ReadonlySet<string>>
  ): Promise<Map<string, ChangedText>> {
    const found = new Map<string, ChangedText>()
    await Promise.all(
      [...missing].map(async ([tag, ids]) => {
        const key = changedKey(blockKey(room, tag))
        // HMGET answers a list of values.
        const values = (await this.#cluster.read(slotOf(key), [
          'HMGET',
          key,
          ...ids
        ])) as ReadonlyArray<string | null>
        for (const [index, id] of [...ids].entries()) {
          const changed = parseChanged(values[index] ?? '')
          if (changed !== undefined) found.set(`${tag}/${id}`, changed)
        }
      })
    )
    return found
  }
}

function placeOf(
  reference: Reference,
  runs: Map<string, BlockRun>
): { readonly reference: Reference; readonly run: BlockRun | undefined } {
  // The text of a change is not in the block but beside it.
  if (reference.change !== undefined) return { reference, run: undefined }
  let run = runs.get(reference.tag)
  if (run === undefined) {
    run = new BlockRun(reference)
    runs.set(reference.tag, run)
  } else run.span(reference)
  return { reference, run }
}
