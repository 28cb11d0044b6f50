// Heartbeats: a stream that has nothing to send gets a small named event, so that its client can
// tell a quiet room from a dead connection. Invariant: no stream is silent for longer than the
// interval. Streams wait in a timer wheel, a ring of slots that each stand for a short time, driven
// by one timer. Writing to a stream only notes the time. The stream's beat in the wheel is moved to
// its right slot when its present slot comes up.
import { type Stream } from './stream.js'

/**
 * A named event, so that EventSource shows it to the page; without an id, so that the client's
 * cursor stays; with data, because an event without data is not delivered.
 */
export const PING = Buffer.from('event: ping\ndata: {}\n\n')

/**
 * How many ticks an interval has. A heartbeat may come early by one tick. Each tick that has work
 * wakes the process up, which costs more than the writes: with 2,000 ticks a heartbeat took twice
 * the processor time (bench/RESULTS.md).
 */
const TICKS = 300
/**
 * The streams of a busy room all fall silent at the same moment. Each stream gets its heartbeat a
 * little early, by up to this share of the interval, so that they do not all come due at once.
 */
const LEAD_MAX = 0.02
const LEADS = 32
/**
 * Work done in one turn of the event loop, before everything else gets a turn. Writing a heartbeat
 * costs as much as looking at WRITE_COST streams.
 */
const BURST_MAX = 2048
const WRITE_COST = 16

/** A stream's next heartbeat, and the tick of the slot that it waits in. */
type Beat = { readonly stream: Beating; readonly leadMs: number; tick: number }

type Beating = Pick<Stream, 'writtenAt' | 'isFull' | 'write'>

export class Heartbeats {
  readonly #intervalMs: number
  readonly #tickMs: number
  /**
   * The slot of tick n is n modulo the length. A beat is never due later than one interval from
   * now, so it never wraps around. A slot gets its set when it is first used.
   */
  readonly #slots: Array<Set<Beat> | undefined> = new Array(TICKS + 2).fill(undefined)
  readonly #beats = new Map<Beating, Beat>()
  #added = 0
  /** All slots before this tick are empty. */
  #next: number
  #timer: NodeJS.Timeout | undefined
  #timerTick = Infinity

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs
    this.#tickMs = intervalMs / TICKS
    this.#next = this.#tickAt(performance.now())
  }

  add(stream: Beating): void {
    const leadMs = (this.#intervalMs * LEAD_MAX * (this.#added++ % LEADS)) / LEADS
    const now = performance.now()
    if (this.#beats.size === 0) this.#next = this.#tickAt(now)
    const beat = { stream, leadMs, tick: 0 }
    this.#beats.set(stream, beat)
    this.#put(beat, stream.writtenAt)
    if (beat.tick < this.#timerTick) this.#setTimer(beat.tick, now)
  }

  remove(stream: Beating): void {
    const beat = this.#beats.get(stream)
    if (beat === undefined) return
    this.#beats.delete(stream)
    this.#slotOf(beat.tick)?.delete(beat)
    if (this.#beats.size === 0) this.close()
  }

  /** Stops the timer; a stream that is added later starts it again. */
  close(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#timerTick = Infinity
  }

  #turn(): void {
    this.close()
    const now = performance.now()
    const due = this.#tickAt(now)
    let cost = 0
    // After a long standstill, one round finds everything.
    this.#next = Math.max(this.#next, due - this.#slots.length)
    for (; this.#next <= due; this.#next++) {
      for (const beat of this.#slotOf(this.#next) ?? []) {
        // Shares the slot but is due one round later.
        if (beat.tick > this.#next) continue
        if (cost > BURST_MAX) {
          setImmediate(() => {
            this.#turn()
          })
          return
        }
        cost += this.#beat(beat, now) ? WRITE_COST : 1
      }
    }
    const next = this.#nextTaken()
    if (next !== undefined) this.#setTimer(next, now)
  }

  /** @returns whether it was written to */
  #beat(beat: Beat, now: number): boolean {
    const { stream } = beat
    this.#slotOf(beat.tick)?.delete(beat)
    const isSilent = this.#dueTick(stream.writtenAt, beat) <= this.#next
    // A full stream has more than enough to read.
    if (isSilent && !stream.isFull) stream.write(PING)
    this.#put(beat, isSilent ? now : stream.writtenAt)
    return isSilent
  }

  #put(beat: Beat, writtenAt: number): void {
    beat.tick = Math.max(this.#next, this.#dueTick(writtenAt, beat))
    ;(this.#slots[beat.tick % this.#slots.length] ??= new Set()).add(beat)
  }

  #setTimer(tick: number, now: number): void {
    clearTimeout(this.#timer)
    this.#timerTick = tick
    this.#timer = setTimeout(
      () => {
        this.#turn()
      },
      Math.max(0, Math.ceil(tick * this.#tickMs - now))
    ).unref()
  }

  #nextTaken(): number | undefined {
    for (let tick = this.#next; tick <= this.#next + TICKS; tick++) {
      if ((this.#slotOf(tick)?.size ?? 0) > 0) return tick
    }
    return undefined
  }

  readonly #tickAt = (at: number): number => Math.floor(at / this.#tickMs)

  readonly #dueTick = (writtenAt: number, { leadMs }: Beat): number =>
    this.#tickAt(writtenAt + this.#intervalMs - leadMs)

  readonly #slotOf = (tick: number): Set<Beat> | undefined => this.#slots[tick % this.#slots.length]
}
