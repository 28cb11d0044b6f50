// What this process knows of the end of each room's log: the last sequence with its reference, and
// the generation that it belongs to. They are kept together, so that after a deletion no sequence
// from before it can be taken for one of the new generation. An outdated head costs a commit time,
// never correctness.
import { Remembered } from '../remembered.js'

export type Head = {
  readonly seq: number
  readonly reference: string
  readonly generation: number
}

export class Heads {
  readonly #heads = new Remembered<Head>()

  get(room: string): Head | undefined {
    return this.#heads.get(room)
  }

  /** The generation that new messages of a room belong to, as far as this process knows. */
  generationOf(room: string): number {
    return this.#heads.get(room)?.generation ?? 0
  }

  note(room: string, head: Head): void {
    // The reply to a commit from before a deletion may arrive after the deletion was noticed.
    if (head.generation < this.generationOf(room)) return
    this.#heads.set(room, head)
  }

  /**
   * What the store has just said of a room's last deletion. It may be of an earlier generation than
   * what is known: then a failover has taken a deletion back.
   */
  replace(room: string, head: Head): void {
    this.#heads.set(room, head)
  }

  forget(room: string): void {
    this.#heads.delete(room)
  }
}
