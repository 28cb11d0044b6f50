// How long messages are kept, by room. Blocks, the hashes of changes beside them, and sealed
// segments get an expiry in Redis, so nothing has to scan. Invariant: the times in the log alone
// decide what readers may see (horizon-search.ts). The keys go later (slackMs), so nothing that is
// still visible is missing. A text stays in its key until its user's next message in the room, or
// until the newest message of its block expires: at most for the kept time once more.

/** Rooms whose names begin with a prefix, and for how many days their messages are kept. */
export type PrefixDays = { readonly prefix: string; readonly days: number }

const DAY_MS = 86_400_000
/**
 * How much later the keys go. Times in a log are not quite in order, because clocks differ and a
 * commit may come some seconds after its append. An hour, or less if messages are kept for less
 * than a day.
 */
const slackMs = (keptMs: number): number => (keptMs / 24 < HOUR_MS ? keptMs / 24 : HOUR_MS)
const HOUR_MS = 3_600_000

export class Retention {
  readonly #days: number
  readonly #byPrefix: readonly PrefixDays[]

  /**
   * @param days for all other rooms; 0 keeps messages for ever
   * @param byPrefix the longest prefix of a room's name counts
   */
  constructor(days: number, byPrefix: readonly PrefixDays[]) {
    this.#days = days
    this.#byPrefix = byPrefix.toSorted((a, b) => b.prefix.length - a.prefix.length)
  }

  /** For how many ms messages of a room are kept; undefined for ever. */
  keptMs(room: string): number | undefined {
    const days =
      this.#byPrefix.length === 0
        ? this.#days
        : (this.#byPrefix.find(({ prefix }) => room.startsWith(prefix))?.days ?? this.#days)
    return days === 0 ? undefined : days * DAY_MS
  }

  /** Messages of a room from before this ms are gone; undefined if it keeps all of them. */
  horizonMs(room: string): number | undefined {
    const keptMs = this.keptMs(room)
    return keptMs === undefined ? undefined : Date.now() - keptMs
  }

  /**
   * When a key may expire whose newest entry is from `ms`; undefined if the room keeps everything.
   */
  expiryMs(room: string, ms: number): number | undefined {
    const keptMs = this.keptMs(room)
    return keptMs === undefined ? undefined : Math.ceil(ms + keptMs + slackMs(keptMs))
  }

  /**
   * Entries older than this ms may be taken out of a block; undefined if the room keeps them all.
   */
  trimMs(room: string): number | undefined {
    const keptMs = this.keptMs(room)
    return keptMs === undefined ? undefined : Math.floor(Date.now() - keptMs - slackMs(keptMs))
  }
}
