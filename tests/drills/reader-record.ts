// What one reader was given, checked as it comes: sequences from the one after its cursor on, without a hole or a repeat, the same
// as every other reader of the room. Counts what is wrong instead of stopping at it. Knows no transport.
import { type Lag } from './lag.js'
import { type Transcript } from './transcript.js'

export type Faults = {
  /** Sequences passed over, those that came later left out. */
  missing: number
  repeated: number
  outOfOrder: number
  /** Frames whose data is not what another reader saw at that sequence. */
  different: number
  lost: number
  resets: number
}

/** On the clock of performance.now(). */
type Pause = { readonly fromMs: number, readonly toMs: number }

/** Shorter ones are not remembered: nobody notices them. */
const PAUSE_MS_MIN = 50

export class ReaderRecord {
  readonly transcript: Transcript
  /** The sequence before the first one that is expected. */
  readonly after: number
  readonly faults: Faults = { missing: 0, repeated: 0, outOfOrder: 0, different: 0, lost: 0, resets: 0 }
  received = 0
  /** How often the reader was told that it is up to date. */
  lives = 0
  resetReasons: string[] = []
  readonly #pauses: Pause[] = []
  #next: number
  #passedOver = new Set<number>()
  #lastAtMs: number | undefined
  readonly #onDelivered: (atMs: number, latencyMs: number) => void

  constructor (transcript: Transcript, after: number, onDelivered: (atMs: number, latencyMs: number) => void = () => {}) {
    this.transcript = transcript
    this.after = after
    this.#next = after + 1
    this.#onDelivered = onDelivered
  }

  /** The last sequence that has come. */
  get last (): number {
    return this.#next - 1
  }

  get isLive (): boolean {
    return this.lives > 0
  }

  /** Pauses count from now on, until `unwatch`. */
  watch (): void {
    this.#lastAtMs = performance.now()
  }

  /**
   * The longest time between two messages that lies in this span, wholly or also in part; 0 when all were shorter than 50 ms.
   * @param lag what it saw of the machine standing still is taken off
   */
  longestPauseMs (fromMs: number, toMs: number, { isWhole = false, lag }: { readonly isWhole?: boolean, readonly lag?: Lag } = {}): number {
    const isMeant = (pause: Pause): boolean => isWhole ? pause.fromMs >= fromMs && pause.toMs <= toMs : pause.fromMs < toMs && pause.toMs > fromMs
    return Math.max(0, ...this.#pauses.filter(isMeant).map(pause => pause.toMs - pause.fromMs - (lag?.overlapMs(pause.fromMs, pause.toMs) ?? 0)))
  }

  unwatch (): void {
    this.#pause(performance.now())
    this.#lastAtMs = undefined
  }

  message (seq: number, data: Buffer, atMs: number): void {
    if (!this.transcript.isSame(seq, data)) this.faults.different++
    if (!this.#place(seq)) return
    this.received++
    if (!this.isLive) return
    this.#pause(atMs)
    this.#onDelivered(atMs, atMs - this.transcript.dueMs(seq))
  }

  lost (seq: number): void {
    this.faults.lost++
    this.#place(seq)
  }

  live (): void {
    this.lives++
  }

  /** @param seq the sequence after which the history begins anew */
  reset (seq: number, reason: string): void {
    this.faults.resets++
    this.resetReasons.push(reason)
    this.#passedOver.clear()
    this.#next = seq + 1
  }

  #place (seq: number): boolean {
    if (seq === this.#next) {
      this.#next = seq + 1
      return true
    }
    if (seq > this.#next) {
      for (let missing = this.#next; missing < seq; missing++) this.#passedOver.add(missing)
      this.faults.missing += seq - this.#next
      this.#next = seq + 1
      return true
    }
    if (this.#passedOver.delete(seq)) {
      this.faults.missing--
      this.faults.outOfOrder++
      return true
    }
    this.faults.repeated++
    return false
  }

  #pause (atMs: number): void {
    if (this.#lastAtMs === undefined) return
    if (atMs - this.#lastAtMs >= PAUSE_MS_MIN) this.#pauses.push({ fromMs: this.#lastAtMs, toMs: atMs })
    this.#lastAtMs = atMs
  }
}
