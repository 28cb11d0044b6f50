// Ends streams whose right ends: when the token expires, when its key has gone, when its user is
// removed from a room. Invariant: after that moment nothing more is written, and what waits in the
// process for a slow client is thrown away with the connection. A stream of many rooms ends as a
// whole when one of them may not be read any more: `event: removed` names it, and the client comes
// back without it.
import { type TokenCaller } from '../identity/claims.js'
import { type Caller } from '../identity/caller.js'
import { type Members } from '../identity/members.js'
import { type Stream } from '../live/stream.js'

type Watched = {
  readonly stream: Pick<Stream, 'end'>
  readonly caller: Caller
  readonly rooms: readonly string[]
}

/** setTimeout takes no more; a longer time is waited for in pieces. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1

const EXPIRED = 'event: expired\ndata: {}\n\n'
const removedFrame = (room: string): string =>
  `event: removed\ndata: ${JSON.stringify({ room })}\n\n`

export class StreamRights {
  readonly #watched = new Set<Watched>()
  /** Those of a user, for removals. */
  readonly #byUser = new Map<string, Set<Watched>>()

  constructor(members: Members) {
    members.onRemoved((room, user) => {
      for (const watched of this.#byUser.get(user) ?? []) {
        if (watched.rooms.includes(room)) this.#recheck(watched, room)
      }
    })
  }

  /**
   * @param rooms those that the stream is about
   * @returns what to call when the stream has ended
   */
  watch(stream: Watched['stream'], caller: Caller, rooms: readonly string[]): () => void {
    const watched: Watched = { stream, caller, rooms }
    this.#watched.add(watched)
    const { user } = caller
    if (user !== undefined) {
      const others = this.#byUser.get(user) ?? new Set()
      this.#byUser.set(user, others.add(watched))
    }
    const stopTimer = this.#expire(watched)
    // A removal may have come between the first answer and now.
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

  /** Ends the streams of callers whose right is gone altogether, such as with a key. */
  endWhere(isGone: (caller: Caller) => boolean): void {
    for (const { stream, caller } of this.#watched) {
      if (isGone(caller)) stream.end('expired', EXPIRED)
    }
  }

  #expire({ stream, caller: { expiresAtMs } }: Watched): () => void {
    if (expiresAtMs === Infinity) return () => undefined
    let timer: NodeJS.Timeout | undefined
    const wait = (): void => {
      const leftMs = expiresAtMs - Date.now()
      if (leftMs <= 0) stream.end('expired', EXPIRED)
      else timer = setTimeout(wait, Math.min(leftMs, TIMEOUT_MS_MAX)).unref()
    }
    wait()
    return () => {
      clearTimeout(timer)
    }
  }

  #recheck({ stream, caller }: Watched, room: string): void {
    const end = (may: boolean): void => {
      if (!may) stream.end('removed', removedFrame(room))
    }
    const may = caller.mayRead(room)
    if (typeof may === 'boolean') end(may)
    // The store does not answer: not a right any more that can be shown.
    else {
      may.then(end, () => {
        end(false)
      })
    }
  }
}

export const signedBy = (caller: Caller): string | undefined =>
  (caller as Partial<TokenCaller>).signedBy
