// Ends streams when their right ends: the token expires, its key disappears, or its user is removed
// from a room. Invariant: after that moment nothing more is written, and what waits in the process
// for a slow client is thrown away with the connection. If one room of a stream of many may no
// longer be read, the whole stream ends. `event: removed` names the room, and the client comes back
// without it. Thousands of streams may lose their right in the same moment, such as with a key.
// They fall silent at once, and their connections are closed a few in each turn of the event loop.
//
// A removal is published to every process. When that news may have been lost, every stream is
// checked within 10 s: after a new subscription, when another process has died, and when one says
// that it could not publish a removal. Whatever else is lost is found within 10 minutes. That takes
// up to 10 s longer, because a membership that was looked up is trusted for that long.
import { type TokenCaller } from '../identity/claims.js'
import { type Caller } from '../identity/caller.js'
import { type Members } from '../identity/members.js'
import { type Stream } from '../live/stream.js'
import { LoopSlices } from '../loop-slices.js'

type Watched = {
  readonly stream: Pick<Stream, 'endSoon'>
  readonly caller: Caller
  readonly rooms: readonly string[]
  /** When the rights are looked at next, by performance.now(). */
  lookAt: number
}

export type RightsTimes = {
  /** How often the rights of each open stream are looked at. */
  readonly everyMs: number
  /** Over how long the looks are spread when removals may have been missed. */
  readonly missedMs: number
  /** How soon a look is repeated if the store did not answer. */
  readonly againMs: number
  readonly tickMs: number
}

/**
 * A look costs a Redis command for each room that is read by membership: with these times, 15,000
 * such streams cost 25 commands a second.
 */
const RIGHTS_TIMES: RightsTimes = {
  everyMs: 600_000,
  missedMs: 10_000,
  againMs: 5_000,
  tickMs: 1_000
}

/** setTimeout takes no more, so a longer time is waited for in pieces. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1

const EXPIRED = 'event: expired\ndata: {}\n\n'
const removedFrame = (room: string): string =>
  `event: removed\ndata: ${JSON.stringify({ room })}\n\n`

export class StreamRights {
  readonly #watched = new Set<Watched>()
  /** The streams of each user, for removals. */
  readonly #byUser = new Map<string, Set<Watched>>()

  readonly #slices = new LoopSlices()
  readonly #timer: NodeJS.Timeout
  readonly #times: RightsTimes

  constructor(members: Members, times: RightsTimes = RIGHTS_TIMES) {
    this.#times = times
    members.onRemoved((room, user) => {
      const concerned = user === undefined ? this.#watched : (this.#byUser.get(user) ?? [])
      for (const watched of concerned) {
        if (watched.rooms.includes(room)) this.#recheck(watched, room)
      }
    })
    members.onMissed(() => {
      const now = performance.now()
      for (const watched of this.#watched) {
        watched.lookAt = Math.min(watched.lookAt, now + Math.random() * times.missedMs)
      }
    })
    this.#timer = setInterval(() => {
      this.#look(performance.now())
    }, times.tickMs).unref()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /**
   * @param rooms the rooms that the stream reads
   * @returns a function to call when the stream has ended
   */
  watch(stream: Watched['stream'], caller: Caller, rooms: readonly string[]): () => void {
    // Many streams are opened at the same time after a restart, so the looks are spread.
    const lookAt = performance.now() + Math.random() * this.#times.everyMs
    const watched: Watched = { stream, caller, rooms, lookAt }
    this.#watched.add(watched)
    const { user } = caller
    if (user !== undefined) {
      const others = this.#byUser.get(user) ?? new Set()
      this.#byUser.set(user, others.add(watched))
    }
    const stopTimer = this.#expire(watched)
    // A removal may have come between the check of the request and now.
    for (const room of rooms) this.#recheck(watched, room)
    return () => {
      stopTimer()
      this.#watched.delete(watched)
      if (user === undefined) return
      const others = this.#byUser.get(user)
      others?.delete(watched)
      if (others?.size === 0) this.#byUser.delete(user)
    }
  }

  /** Ends the streams of callers who have lost all rights, such as with their key. */
  endWhere(isGone: (caller: Caller) => boolean): void {
    for (const { stream, caller } of this.#watched) {
      if (isGone(caller)) stream.endSoon('expired', EXPIRED, this.#slices)
    }
  }

  #expire({ stream, caller: { expiresAtMs } }: Watched): () => void {
    if (expiresAtMs === Infinity) return () => undefined
    let timer: NodeJS.Timeout | undefined
    const wait = (): void => {
      const leftMs = expiresAtMs - Date.now()
      if (leftMs <= 0) stream.endSoon('expired', EXPIRED, this.#slices)
      else timer = setTimeout(wait, Math.min(leftMs, TIMEOUT_MS_MAX)).unref()
    }
    wait()
    return () => {
      clearTimeout(timer)
    }
  }

  // If the store does not answer, no stream ends: nothing says that the right has ended.
  #look(now: number): void {
    for (const watched of this.#watched) {
      if (watched.lookAt > now) continue
      watched.lookAt = now + this.#times.everyMs
      for (const room of watched.rooms) {
        const may = watched.caller.mayRead(room)
        if (may === true) continue
        Promise.resolve(may).then(
          mayIndeed => {
            if (!mayIndeed) watched.stream.endSoon('removed', removedFrame(room), this.#slices)
          },
          () => {
            watched.lookAt = Math.min(watched.lookAt, performance.now() + this.#times.againMs)
          }
        )
      }
    }
  }

  #recheck({ stream, caller }: Watched, room: string): void {
    const end = (may: boolean): void => {
      if (!may) stream.endSoon('removed', removedFrame(room), this.#slices)
    }
    const may = caller.mayRead(room)
    if (typeof may === 'boolean') end(may)
    // The removal is certain. If the store does not answer, nothing shows that there is another
    // right.
    else {
      may.then(end, () => {
        end(false)
      })
    }
  }
}

export const signedBy = (caller: Caller): string | undefined =>
  (caller as Partial<TokenCaller>).signedBy
