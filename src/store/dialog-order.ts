// The order of a person's dialogs, newest activity first: the later of the room's last message and
// the person's own last act there (being invited, or writing). Two phases follow each other:
//
//    active   the DIALOGS_MAX rooms with the person's newest own acts, ordered by activity; for
//             that the heads of all of them are read, unless they were read in the last HEAD_MS
//    older    all other rooms, ordered by the person's own acts only
//
// So a page costs at most DIALOGS_MAX reads, however many rooms a person has. The price: a message
// of somebody else in an older room does not move that room up.
import { type FairTurns } from '../fair-turns.js'
import { timeOf } from '../message/message.js'
import { SLOT_COUNT } from '../redis/slots.js'
import { DialogsError } from '../errors.js'
import { Remembered } from '../remembered.js'
import { byTime, type Dialogs, type OwnDialog } from './dialogs.js'
import { roomSlot } from './keys.js'
import { type Log } from './log.js'

/** Rooms whose heads are compared for the order. */
export const DIALOGS_MAX = 1000
/**
 * How old a head may be if it only decides the order. Each room has a limit of its own, between
 * half of this and all of it. With one limit for all rooms, the heads that one list has read would
 * all be too old at the same moment, and the next list would wait for a thousand reads. As it is, a
 * list that is asked for every 10 ms reads about seven of 1,000 heads (unit/dialog-order counts
 * them).
 */
const HEAD_MS = 2000

/** When a room's last message was; a promise while it is being read. */
type Head = { ms: number | Promise<number>; readonly untilMs: number }

/** A room's place in the order; `ms` is that of its activity, or of the person's own last act. */
export type DialogPlace = OwnDialog & { readonly phase: 'active' | 'older' }

export class DialogOrder {
  readonly #log: Pick<Log, 'head'>
  readonly #dialogs: Dialogs
  readonly #fair: Pick<FairTurns, 'run'>
  readonly #heads = new Remembered<Head>()

  /** @param fair bounds how many heads are read at the same time */
  constructor(log: Pick<Log, 'head'>, dialogs: Dialogs, fair: Pick<FairTurns, 'run'>) {
    this.#log = log
    this.#dialogs = dialogs
    this.#fair = fair
  }

  /** The next `count` places after `before`, or the first ones. */
  async places(
    user: string,
    before: DialogPlace | undefined,
    count: number
  ): Promise<DialogPlace[]> {
    if (before?.phase === 'older') return await this.#older(user, before, count)
    const newest = await this.#dialogs.newest(user, DIALOGS_MAX)
    const active = await this.#byActivity(user, newest, before, count)
    const last = newest.at(-1)
    return active.length >= count || newest.length < DIALOGS_MAX || last === undefined
      ? active
      : [...active, ...(await this.#older(user, last, count - active.length))]
  }

  async #older(user: string, before: OwnDialog, count: number): Promise<DialogPlace[]> {
    const dialogs = await this.#dialogs.newest(user, count, before)
    return dialogs.map(dialog => ({ ...dialog, phase: 'older' }))
  }

  // The first `count` of these dialogs that come after `before`.
  async #byActivity(
    user: string,
    dialogs: readonly OwnDialog[],
    before: DialogPlace | undefined,
    count: number
  ): Promise<DialogPlace[]> {
    const first = new First(count, before)
    // Nearly all heads are known, and a promise for each room would take longer than the rest.
    const reading: Array<Promise<void>> = []
    for (const { room, ms } of dialogs) {
      const headMs = this.#headMs(user, room)
      if (typeof headMs === 'number') first.add(room, Math.max(ms, headMs))
      else reading.push(headMs.then(headMs => first.add(room, Math.max(ms, headMs))))
    }
    await Promise.all(reading)
    return first.places
  }

  #headMs(user: string, room: string): number | Promise<number> {
    const now = performance.now()
    const known = this.#heads.get(room)
    if (known !== undefined && now < known.untilMs) return known.ms
    const reading = this.#fair.run({ client: user, bytes: 0, slot: roomSlot(room) }, async () =>
      timeOf((await this.#log.head(room))?.reference)
    )
    const share = (1 + roomSlot(room) / SLOT_COUNT) / 2
    const head: Head = { ms: reading, untilMs: now + share * HEAD_MS }
    this.#heads.set(room, head)
    reading.then(
      ms => {
        head.ms = ms
      },
      () => {
        if (this.#heads.get(room) === head) this.#heads.delete(room)
      }
    )
    return reading
  }
}

/**
 * The first `count` of many active dialogs after `before`, in order. Sorting all of a thousand to
 * return fifty would take several times as long.
 */
class First {
  readonly places: DialogPlace[] = []
  readonly #count: number
  readonly #before: DialogPlace | undefined

  constructor(count: number, before: DialogPlace | undefined) {
    this.#count = count
    this.#before = before
  }

  add(room: string, ms: number): void {
    const { places } = this
    const last = places.at(-1)
    if (places.length === this.#count && last !== undefined && ms < last.ms) return
    const place: DialogPlace = { room, ms, phase: 'active' }
    if (this.#before !== undefined && byTime(this.#before, place) >= 0) return
    let [from, to] = [0, places.length]
    while (from < to) {
      const middle = (from + to) >>> 1
      if (byTime(places[middle] ?? place, place) < 0) from = middle + 1
      else to = middle
    }
    places.splice(from, 0, place)
    if (places.length > this.#count) places.pop()
  }
}

const PLACE = /^([ao])(0|[1-9]\d{0,15})-(.+)$/su

/** The inverse of formatPlace. @throws DialogsError INVALID_CURSOR */
export function parsePlace(text: string): DialogPlace {
  const [, phase, ms, room] = PLACE.exec(text) ?? []
  if (room === undefined) {
    throw new DialogsError(
      'INVALID_CURSOR',
      'The parameter before must be the next of a page: begin again, without it.'
    )
  }
  return { phase: phase === 'a' ? 'active' : 'older', ms: Number(ms), room }
}

/** A place as the `next` of a page: `a` or `o`, the ms, and the room. */
export const formatPlace = ({ phase, ms, room }: DialogPlace): string =>
  `${phase === 'active' ? 'a' : 'o'}${ms}-${room}`
