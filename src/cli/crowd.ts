// The messages that the generator posts: rooms in turn, users by Zipf's law, and texts of one size
// with a running number. The same options and seed give the same messages in the same order. Sends
// nothing.
import { randomFrom, Zipf } from './zipf.js'
import type { Draft } from './post.js'

export type CrowdOptions = {
  readonly room: string
  /** Writes to `<room>-1` … `<room>-N` in turn instead of to `room`. */
  readonly rooms: number | undefined
  /** The only user, or the busiest of `users` (`user-1` if no name is given). */
  readonly user: string | undefined
  /** How many users write: `user-1` … `user-N`, from the busiest on. */
  readonly users: number | undefined
  readonly zipf: number
  readonly seed: number
  readonly textBytes: number
}

export const DEFAULT_USER = 'lady_gaga'

const PROSE =
  'the quick brown fox jumps over the lazy dog and everyone in the room sees it in the same order '

/**
 * @returns a function that makes the message of an index. Call it with 0, 1, 2 … in this order,
 * because the users are drawn one by one
 */
export function crowd(options: CrowdOptions): (index: number) => Draft {
  const { room, rooms, user } = options
  const users = options.users ?? 1
  const names = Array.from({ length: users }, (_, rank) => `user-${rank + 1}`)
  if (user !== undefined || options.users === undefined) names[0] = user ?? DEFAULT_USER
  const random = randomFrom(options.seed)
  const zipf = new Zipf(users, options.zipf)
  const filler = PROSE.repeat(Math.ceil(options.textBytes / PROSE.length))

  return index => {
    const number = `#${index + 1} `
    return {
      room: rooms === undefined ? room : `${room}-${(index % rooms) + 1}`,
      // Always within the names: there are as many names as ranks.
      user: names[zipf.rank(random())]!,
      text: number + filler.slice(0, Math.max(0, options.textBytes - number.length))
    }
  }
}
