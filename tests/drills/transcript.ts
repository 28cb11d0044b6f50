// What the readers of one room received: the bytes of each sequence, as the first reader got them.
// All other readers must get the same.
import { dueMsOf } from './ledger.js'

export class Transcript {
  readonly room: string
  readonly #data: Array<Buffer | undefined> = []
  readonly #dueMs: number[] = []

  constructor(room: string) {
    this.room = room
  }

  /**
   * Records the data that the first reader got at a sequence, and compares what later readers get.
   * @returns false if the data differs
   */
  recordOrCompare(seq: number, data: Buffer): boolean {
    const known = this.#data[seq]
    if (known !== undefined) return known.equals(data)
    this.#data[seq] = Buffer.from(data)
    this.#dueMs[seq] = dueMsOf(this.text(seq) ?? '')
    return true
  }

  /** The last sequence that any reader received. */
  get length(): number {
    return Math.max(0, this.#data.length - 1)
  }

  /** When the message of a sequence was due; NaN for a message that no drill has sent. */
  dueMs(seq: number): number {
    return this.#dueMs[seq] ?? Number.NaN
  }

  /** The text that readers got at a sequence; undefined if none has received it. */
  text(seq: number): string | undefined {
    const data = this.#data[seq]
    if (data === undefined) return undefined
    // It may be any JSON; only a message has a text.
    const { text } = JSON.parse(data.toString()) as { text?: unknown }
    return typeof text === 'string' ? text : undefined
  }
}
