// Heartbeats: a stream that has nothing to send gets a small named event, so that its client can
// tell a quiet room from a dead connection. Invariant: no stream is silent for longer than the
// interval. Streams wait in a timer wheel, a ring of slots that each stand for a short time, driven
// by one timer. Writing to a stream only notes the time; its place in the wheel is corrected when
// its slot comes up.
import { type Stream } from './stream.js'

/**
 * A named event, so that EventSource shows it to the page; without an id, so that the client's
 * cursor stays; with data, because an event without data is not delivered.
 */
export const PING = Buffer.from('event: ping\ndata: {}\n\n')

const TICKS = 2000
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

type Place = { readonly stream: Beating; readonly leadMs: number; tick: number }

type Beating = Pick<Stream, 'writtenAt' | 'isFull' | 'write'>

export class Heartbeats {
  readonly #intervalMs: number
  readonly #tickMs: number
  /**
   * The slot of tick n is n modulo the length. A place is never due later than one interval from
   * now, so it never wraps around. A slot gets its set when it is first used.
   */
  readonly #slots: Array<Set<Place> | undefined> = new Array(TICKS + 2).fill(undefined)
  readonly #places = new Map<Beating, Place>()
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
    if (this.#places.size === 0) this.#next = this.#tickAt(now)
    const place = { stream, leadMs, tick: 0 }
    this.#places.set(stream, place)
    this.#put(place, stream.writtenAt)
    if (place.tick < this.#timerTick) this.#setTimer(place.tick, now)
  }

  remove(stream: Beating): void {
    const place = this.#places.get(stream)
    if (place === undefined) return
    this.#places.delete(stream)
    this.#slotOf(place.tick)?.delete(place)
    if (this.#places.size === 0) this.close()
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
      for (const place of this.#slotOf(this.#next) ?? []) {
        // Shares the slot but is due one round later.
        if (place.tick > this.#next) continue
        if (cost > BURST_MAX) {
          setImmediate(() => {
            this.#turn()
          })
          return
        }
        cost += this.#beat(place, now) ? WRITE_COST : 1
      }
    }
    const next = this.#nextTaken()
    if (next !== undefined) this.#setTimer(next, now)
  }

  /** @returns whether it was written to */
  #beat(place: Place, now: number): boolean {
    const { stream } = place
    this.#slotOf(place.tick)?.delete(place)
    const isSilent = this.#dueTick(stream.writtenAt, place) <= this.#next
    // A full stream has more than enough to read.
    if (isSilent && !stream.isFull) stream.write(PING)
    this.#put(place, isSilent ? now : stream.writtenAt)
    return isSilent
  }

  #put(place: Place, writtenAt: number): void {
    place.tick = Math.max(this.#next, this.#dueTick(writtenAt, place))
    ;(this.#slots[place.tick % this.#slots.length] ??= new Set()).add(place)
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

  readonly #dueTick = (writtenAt: number, { leadMs }: Place): number =>
    this.#tickAt(writtenAt + this.#intervalMs - leadMs)

  readonly #slotOf = (tick: number): Set<Place> | undefined =>
    this.#slots[tick % this.#slots.length]
}
