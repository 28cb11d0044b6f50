// How long messages are kept, by room. Blocks, what stands beside them, and sealed segments get an
// expiry in Redis; nothing scans. Invariant: what is told to be gone is decided by the times in the
// log alone, exactly at the horizon; the keys follow later (slackMs), so that nothing that still
// counts as there is missing. A text stays in its key until its user's next message in the room, or
// until the newest message of its block expires: at most once more the time that messages are kept.

/** Rooms whose names begin with a prefix, and for how many days their messages are kept. */
export type PrefixDays = { readonly prefix: string; readonly days: number }

const DAY_MS = 86_400_000
/**
 * Times in a log are not quite in order: clocks differ, and a commit may come some seconds after
 * its append. An hour, or less where messages are kept for less than a day.
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

  /** Messages of a room from before this ms are gone; undefined if it keeps all. */
  horizonMs(room: string): number | undefined {
    const keptMs = this.keptMs(room)
    return keptMs === undefined ? undefined : Date.now() - keptMs
  }

  /** When a key may expire whose newest entry is from `ms`; undefined if the room keeps all. */
  expiryMs(room: string, ms: number): number | undefined {
    const keptMs = this.keptMs(room)
    return keptMs === undefined ? undefined : Math.ceil(ms + keptMs + slackMs(keptMs))
  }

  /** What is older than this may be taken out of a block; undefined if the room keeps all. */
  trimMs(room: string): number | undefined {
    const keptMs = this.keptMs(room)
    return keptMs === undefined ? undefined : Math.floor(Date.now() - keptMs - slackMs(keptMs))
  }
}
