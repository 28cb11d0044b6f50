// Reads messages. References come from the log, are grouped by block, and each block is read by one
// XRANGE, on all nodes at the same time. Invariant: every sequence asked for, up to the head, is
// returned exactly once, in order, as a message or as lost. The cost depends on the page, not on
// the room. Identical reads in flight are shared.
import { setTimeout as sleep } from 'node:timers/promises'
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { blockKey, changedKey } from './keys.js'
import { slotOf } from '../redis/slots.js'
import { type Log } from './log.js'
import { type LogEntry } from './pieces.js'
import {
  isLost,
  parseReference,
  type ChangeMark,
  type Entry,
  type Reference
} from '../message/message.js'

/** Longer than a POST may take: after this nobody puts a missing text back. */
const FRESH_MS = 30_000
const LOOK_AGAIN_MS = 50

// An entry of a block as XRANGE returns it. Blocks have a single field, `t`.
type BlockEntry = readonly [id: string, fields: readonly [string, string]]

export class History {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #lostPatienceMs: number
  readonly #reading = new Map<string, Promise<Entry[]>>()
  #reads = 0

  /**
   * @param lostPatienceMs how long a page waits for the text of a new message whose reference is
   * already in the log
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
   * @param epoch the room's epoch: reads are shared only within one epoch
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
   * The newest `count` messages, in order; the last one is the head. Not shared, because a reader
   * must not start from a state older than its request.
   */
  async newest(room: string, count: number): Promise<Entry[]> {
    this.#reads++
    return await this.#messages(room, await this.#log.newest(room, count))
  }

  /** The messages of some log entries, in the same order. */
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

  // After a failover a just committed text may be missing while its log entry is there. Its writer
  // has no acknowledgement yet and puts the text back (Appender.ensure), so a page waits for it for
  // a short time. A text that stays missing, or that is older, is lost.
  async #messages(room: string, log: readonly LogEntry[]): Promise<Entry[]> {
    const until = performance.now() + this.#lostPatienceMs
    for (;;) {
      const entries = await this.#look(room, log)
      const isFresh = entries.some(entry => isLost(entry) && entry.ms > Date.now() - FRESH_MS)
      if (!isFresh || performance.now() >= until) return entries
      await sleep(LOOK_AGAIN_MS)
    }
  }

  // That texts are lost is believed when their block is not elsewhere, and they are still missing
  // after that was found out: a move that ended in between has brought them back. A reader is told
  // of a lost message once, and never that it is there again.
  async #look(room: string, log: readonly LogEntry[]): Promise<Entry[]> {
    const first = await this.#read(room, log)
    if (first.lost.size === 0) return first.entries
    await this.#refuseIfStranded(room, first.lost)
    return (await this.#read(room, log)).entries
  }

  /** The entries, and the tags of the blocks that lack a text. */
  async #read(
    room: string,
    log: readonly LogEntry[]
  ): Promise<{ readonly entries: Entry[]; readonly lost: ReadonlySet<string> }> {
    const runs = new Map<string, Run>()
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
      const found = changedEntry(room, entry.seq, place.reference, changes)
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
      'Texts of the room are out of reach, the slot of their block is half-moved: run npm run cluster -- finish'
    )
  }

  // What became of messages that are not in their blocks, by `<tag>/<entry id>`.
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

/** What stands beside a block of a changed message; `text` is undefined when it was deleted. */
export type ChangedText = {
  readonly n: number
  readonly ms: number
  readonly text: string | undefined
}

// As CHANGE writes it.
const CHANGED = /^(\d+) (\d+) \S+ ([td])([\s\S]*)$/

export function parseChanged(value: string): ChangedText | undefined {
  const [, n, ms, kind, text] = CHANGED.exec(value) ?? []
  return n === undefined
    ? undefined
    : { n: Number(n), ms: Number(ms), text: kind === 't' ? text : undefined }
}

// A message that was changed is shown as it is now, also by the entry that told of the change: who
// reads history gets no text that is no more. A deletion that the log tells holds, even if the
// shard has lost what stood beside the block.
function changedEntry(
  room: string,
  seq: number,
  { tag, user, id, ms, change }: Reference,
  changes: ReadonlyMap<string, ChangedText>
): Entry {
  const changed = changes.get(`${tag}/${id}`)
  if (change !== undefined) {
    return changed === undefined && !change.isDeletion
      ? { room, seq, ms, lost: true }
      : { room, seq, ms, changes: change.seq, text: textNow(change, changed) }
  }
  if (changed === undefined) return { room, seq, ms, lost: true }
  return changed.text === undefined
    ? { room, seq, ms, deleted: true }
    : { room, seq, user, text: changed.text, ms, changedMs: changed.ms }
}

const textNow = (change: ChangeMark, changed: ChangedText | undefined): string | undefined =>
  change.isDeletion ? undefined : changed?.text

function placeOf(
  reference: Reference,
  runs: Map<string, Run>
): { readonly reference: Reference; readonly run: Run | undefined } {
  // Its text is not in the block.
  if (reference.change !== undefined) return { reference, run: undefined }
  let run = runs.get(reference.tag)
  if (run === undefined) {
    run = new Run(reference)
    runs.set(reference.tag, run)
  } else run.span(reference)
  return { reference, run }
}

// The part of a block that one page needs: the entries from the lowest to the highest id. Few
// entries in between belong to other pages, because a block holds one user's messages in one room,
// and what was committed together was appended together.
class Run {
  first: Reference
  last: Reference
  #entries: readonly BlockEntry[] = []
  /** Usually a page asks for the entries in the block's own order. */
  #next = 0
  #texts: Map<string, string> | undefined

  constructor(reference: Reference) {
    this.first = reference
    this.last = reference
  }

  span(reference: Reference): void {
    if (isBefore(reference, this.first)) this.first = reference
    else if (isBefore(this.last, reference)) this.last = reference
  }

  found(entries: readonly BlockEntry[]): void {
    this.#entries = entries
  }

  textOf(id: string): string | undefined {
    const next = this.#entries[this.#next]
    if (next?.[0] === id) {
      this.#next++
      return next[1][1]
    }
    this.#texts ??= new Map(this.#entries.map(([id, fields]) => [id, fields[1]]))
    return this.#texts.get(id)
  }
}

// Orders stream entry ids `<ms>-<n>`. Usually the times differ, and they are known as numbers.
const isBefore = (a: Reference, b: Reference): boolean =>
  a.ms !== b.ms ? a.ms < b.ms : compareIds(a.id, b.id) < 0

/** Orders stream entry ids `<ms>-<n>` as Redis does. */
export function compareIds(a: string, b: string): number {
  const ms = Number.parseInt(a, 10) - Number.parseInt(b, 10)
  return ms !== 0 ? ms : Number(a.slice(a.indexOf('-') + 1)) - Number(b.slice(b.indexOf('-') + 1))
}
