// The part of a block that one page needs: the entries from the lowest to the highest id that it
// asks for. Few entries in between belong to other pages, because a block holds one user's messages
// in one room, and messages that were committed together were appended together.
import { type Reference } from '../message/message.js'

/** An entry of a block as XRANGE returns it. Blocks have a single field, `t`. */
export type BlockEntry = readonly [id: string, fields: readonly [string, string]]

export class BlockRun {
  first: Reference
  last: Reference
  #entries: readonly BlockEntry[] = []
  /** Where the next id is probably found: nearly always a page asks in the order of the block. */
  #next = 0
  #texts: Map<string, string> | undefined

  constructor(reference: Reference) {
    this.first = reference
    this.last = reference
  }

  /** Widens the run so that it covers one more entry. */
  span(reference: Reference): void {
    if (isBefore(reference, this.first)) this.first = reference
    else if (isBefore(this.last, reference)) this.last = reference
  }

  /** Takes what the block has from `first` to `last`. */
  found(entries: readonly BlockEntry[]): void {
    this.#entries = entries
  }

  /** The text of an entry; undefined if the block does not have it. */
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

// The times of two references are known as numbers, and usually they differ.
const isBefore = (a: Reference, b: Reference): boolean =>
  a.ms !== b.ms ? a.ms < b.ms : compareIds(a.id, b.id) < 0

/** Orders stream entry ids `<ms>-<n>` as Redis does. */
export function compareIds(a: string, b: string): number {
  const ms = Number.parseInt(a, 10) - Number.parseInt(b, 10)
  return ms !== 0 ? ms : Number(a.slice(a.indexOf('-') + 1)) - Number(b.slice(b.indexOf('-') + 1))
}
