// What one reader received, checked as it arrives: sequences from its cursor on, without a hole or
// a repeat, with the same data as every other reader of the room. Counts violations and continues.
// Knows no transport.
import { type Lag } from './lag.js'
import { type Transcript } from './transcript.js'

export type Faults = {
  /** Sequences that were skipped and did not arrive later either. */
  missing: number
  repeated: number
  outOfOrder: number
  /** Frames whose data differs from what another reader got at that sequence. */
  different: number
  lost: number
  resets: number
}

/** On the clock of performance.now(). */
type Pause = { readonly fromMs: number; readonly toMs: number }

/** Shorter pauses are not kept: nobody notices them. */
const PAUSE_MS_MIN = 50

export class ReaderRecord {
  readonly transcript: Transcript
  /** The sequence before the first expected one. */
  readonly after: number
  readonly faults: Faults = {
    missing: 0,
    repeated: 0,
    outOfOrder: 0,
    different: 0,
    lost: 0,
    resets: 0
  }
  received = 0
  /** How often the reader got `live`. */
  lives = 0
  resetReasons: string[] = []
  readonly #pauses: Pause[] = []
  #next: number
  #passedOver = new Set<number>()
  #lastAtMs: number | undefined
  readonly #onDelivered: (atMs: number, latencyMs: number) => void

  constructor(
    transcript: Transcript,
    after: number,
    onDelivered: (atMs: number, latencyMs: number) => void = () => {}
  ) {
    this.transcript = transcript
    this.after = after
    this.#next = after + 1
    this.#onDelivered = onDelivered
  }

  /** The last sequence that was received. */
  get last(): number {
    return this.#next - 1
  }

  get isLive(): boolean {
    return this.lives > 0
  }

  /** Records pauses from now on, until `unwatch`. */
  watch(): void {
    this.#lastAtMs = performance.now()
  }

  /**
   * The longest pause between two messages that overlaps this span; 0 if all were shorter than 50
   * ms.
   * @param isWhole only pauses that lie within the span, not those that overlap its edges
   * @param lag the machine's own pauses, which are deducted
   */
  longestPauseMs(
    fromMs: number,
    toMs: number,
    { isWhole = false, lag }: { readonly isWhole?: boolean; readonly lag?: Lag } = {}
  ): number {
    const isCounted = (pause: Pause): boolean =>
      isWhole
        ? pause.fromMs >= fromMs && pause.toMs <= toMs
        : pause.fromMs < toMs && pause.toMs > fromMs
    return Math.max(
      0,
      ...this.#pauses
        .filter(isCounted)
        .map(pause => pause.toMs - pause.fromMs - (lag?.overlapMs(pause.fromMs, pause.toMs) ?? 0))
    )
  }

  unwatch(): void {
    this.#pause(performance.now())
    this.#lastAtMs = undefined
  }

  message(seq: number, data: Buffer, atMs: number): void {
    if (!this.transcript.recordOrCompare(seq, data)) this.faults.different++
    if (!this.#place(seq)) return
    this.received++
    if (!this.isLive) return
    this.#pause(atMs)
    this.#onDelivered(atMs, atMs - this.transcript.dueMs(seq))
  }

  lost(seq: number): void {
    this.faults.lost++
    this.#place(seq)
  }

  live(): void {
    this.lives++
  }

  /** @param seq the history starts again after this sequence */
  reset(seq: number, reason: string): void {
    this.faults.resets++
    this.resetReasons.push(reason)
    this.#passedOver.clear()
    this.#next = seq + 1
  }

  #place(seq: number): boolean {
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

  #pause(atMs: number): void {
    if (this.#lastAtMs === undefined) return
    if (atMs - this.#lastAtMs >= PAUSE_MS_MIN) {
      this.#pauses.push({ fromMs: this.#lastAtMs, toMs: atMs })
    }
    this.#lastAtMs = atMs
  }
}
