// Redis streams, as far as the service uses them. Written from the commands' documentation and
// Redis' t_stream.c; tests/cluster/simulated-redis.ts compares it with real servers.
import { ReplyError } from './resp.js'

export type Id = readonly [ms: number, seq: number]
export type StreamEntry = { readonly id: Id; readonly fields: readonly string[] }

export const ZERO: Id = [0, 0]
const MAX: Id = [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]

export const compare = (a: Id, b: Id): number => a[0] - b[0] || a[1] - b[1]
export const format = ([ms, seq]: Id): string => `${ms}-${seq}`

export const NOT_POSITIVE = new ReplyError('ERR The ID specified in XADD must be greater than 0-0')
const INVALID = new ReplyError('ERR Invalid stream ID specified as stream command argument')

export function parseId(text: string, missingSeq: number): Id {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text)
  if (match === null) throw INVALID
  return [Number(match[1]), match[2] === undefined ? missingSeq : Number(match[2])]
}

/** `-`, `+`, `5-1`, `5`, or one of these after `(`. */
export function parseBound(text: string, isStart: boolean): Id {
  if (text === '-') return ZERO
  if (text === '+') return MAX
  if (!text.startsWith('(')) return parseId(text, isStart ? 0 : MAX[1])
  const id = parseId(text.slice(1), isStart ? 0 : MAX[1])
  return isStart ? next(id) : previous(id)
}

const next = ([ms, seq]: Id): Id => [ms, seq + 1]
const previous = ([ms, seq]: Id): Id => (seq > 0 ? [ms, seq - 1] : [ms - 1, MAX[1]])

export class Stream {
  readonly kind = 'stream'
  entries: StreamEntry[] = []
  last: Id = ZERO
  maxDeleted: Id = ZERO
  added = 0

  clone(): Stream {
    const stream = new Stream()
    stream.entries = [...this.entries]
    stream.last = this.last
    stream.maxDeleted = this.maxDeleted
    stream.added = this.added
    return stream
  }

  /** @param id `*`, `<ms>-*`, `<ms>-<seq>` or `<ms>` */
  add(id: string, fields: readonly string[], clockMs: number): string {
    const given = this.#idFrom(id, clockMs)
    if (!id.endsWith('*') && compare(given, ZERO) === 0) throw NOT_POSITIVE
    if (compare(given, this.last) <= 0) {
      throw new ReplyError(
        'ERR The ID specified in XADD is equal or smaller than the target stream top item'
      )
    }
    this.entries.push({ id: given, fields })
    this.last = given
    this.added++
    return format(given)
  }

  #idFrom(text: string, clockMs: number): Id {
    if (text === '*') return clockMs > this.last[0] ? [clockMs, 0] : next(this.last)
    if (!text.endsWith('-*')) return parseId(text, 0)
    const ms = Number(text.slice(0, -2))
    return ms === this.last[0] ? next(this.last) : [ms, 0]
  }

  /** In ascending order; both ends are included. */
  range(from: Id, to: Id, count = Infinity): StreamEntry[] {
    const found: StreamEntry[] = []
    for (
      let index = this.#indexOf(from);
      index < this.entries.length && found.length < count;
      index++
    ) {
      const entry = this.entries[index] as StreamEntry
      if (compare(entry.id, to) > 0) break
      found.push(entry)
    }
    return found
  }

  reverseRange(from: Id, to: Id, count = Infinity): StreamEntry[] {
    const found: StreamEntry[] = []
    for (let index = this.#indexOf(next(to)) - 1; index >= 0 && found.length < count; index--) {
      const entry = this.entries[index] as StreamEntry
      if (compare(entry.id, from) < 0) break
      found.push(entry)
    }
    return found
  }

  delete(ids: readonly Id[]): number {
    let deleted = 0
    for (const id of ids) {
      const index = this.#indexOf(id)
      const entry = this.entries[index]
      if (entry === undefined || compare(entry.id, id) !== 0) continue
      this.entries.splice(index, 1)
      if (compare(id, this.maxDeleted) > 0) this.maxDeleted = id
      deleted++
    }
    return deleted
  }

  trimBelow(id: Id): number {
    return this.entries.splice(0, this.#indexOf(id)).length
  }

  trimTo(length: number): number {
    return this.entries.splice(0, Math.max(0, this.entries.length - length)).length
  }

  /**
   * @param mayGoBelowDeleted Redis 7.0 lets the last id be set below an id that was deleted; later
   * versions do not
   */
  setLast(
    id: Id,
    added: number | undefined,
    maxDeleted: Id | undefined,
    mayGoBelowDeleted: boolean
  ): void {
    if (compare(id, this.maxDeleted) < 0 && !mayGoBelowDeleted) {
      throw new ReplyError(
        'ERR The ID specified in XSETID is smaller than current max_deleted_entry_id'
      )
    }
    const top = this.entries.at(-1)
    if (top !== undefined) {
      if (compare(id, top.id) < 0) {
        throw new ReplyError(
          'ERR The ID specified in XSETID is smaller than the target stream top item'
        )
      }
      if (added !== undefined && this.entries.length > added) {
        throw new ReplyError(
          'ERR The entries_added specified in XSETID is smaller than the target stream length'
        )
      }
    }
    this.last = id
    if (added !== undefined) this.added = added
    if (maxDeleted !== undefined && compare(maxDeleted, ZERO) !== 0) this.maxDeleted = maxDeleted
  }

  // The index of the first entry at or after the id.
  #indexOf(id: Id): number {
    let low = 0
    let high = this.entries.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (compare((this.entries[middle] as StreamEntry).id, id) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
