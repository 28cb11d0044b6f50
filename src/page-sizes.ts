// How many bytes a page will probably have, from the last page of the same room or person. Only a
// guess, for deciding which page is read first (fair-turns.ts): a wrong one does no harm.
import { Remembered } from './remembered.js'

/** An entry of a room that nothing is known of yet. */
const ENTRY_BYTES = 150

export class PageSizes {
  readonly #entryBytes = new Remembered<number>()

  /** @param name of the room or person, and of the kind of page */
  expected(name: string, entries: number): number {
    return entries * (this.#entryBytes.get(name) ?? ENTRY_BYTES)
  }

  knows(name: string): boolean {
    return this.#entryBytes.has(name)
  }

  /** A page had so many entries and bytes. */
  note(name: string, entries: number, bytes: number): void {
    if (entries > 0) this.#entryBytes.set(name, bytes / entries)
  }
}
