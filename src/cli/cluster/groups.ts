// Slot moves in groups, which are moved one after the other. Invariant: a group has one source, one
// target and one way, keeps the order of the moves, and stays within the limits of its way.
import { type AtomicWay } from './atomic.js'
import { type Move } from './plan.js'

export type Group = {
  readonly from: string
  readonly to: string
  readonly slots: readonly number[]
  readonly keys: number
  readonly way: AtomicWay | undefined
  /** It is moved alone, after all others (stale-notes.ts). */
  readonly isClosing?: true
}

// The length of a group determines how long its slots are marked, and how many keys a failover of
// the source would hide from clients: few. Empty slots cost only the marks, but each round of marks
// makes the node write its configuration to disk.
const GROUP_SLOTS_MAX = 64
const GROUP_KEYS_MAX = 50
// A job of the servers' own forks the source once, and is waited for when the work is interrupted.
const JOB_SLOTS_MAX = 512
const JOB_KEYS_MAX = 50_000
/**
 * With thousands of ranges in one job, the target's replica stopped applying its master's writes
 * (Valkey 9.1.2).
 */
const JOB_RANGES_MAX = 32

/**
 * @param counts the number of keys of each move's slot
 * @param ways how the servers can do each move themselves, if they can
 * @param closing the indices of moves that come last, each in a group of its own
 */
export function groupsOf(
  moves: readonly Move[],
  counts: readonly number[],
  ways: ReadonlyArray<AtomicWay | undefined>,
  closing: ReadonlySet<number>
): Group[] {
  const groups: Array<{
    from: string
    to: string
    slots: number[]
    keys: number
    way: AtomicWay | undefined
    ranges: number
  }> = []
  for (const [index, { slot, from, to }] of moves.entries()) {
    if (closing.has(index)) continue
    const keys = counts[index] ?? 0
    const way = ways[index]
    const [slotsMax, keysMax] =
      way === undefined ? [GROUP_SLOTS_MAX, GROUP_KEYS_MAX] : [JOB_SLOTS_MAX, JOB_KEYS_MAX]
    const last = groups.at(-1)
    const ranges = last === undefined || last.slots.at(-1) === slot - 1 ? 0 : 1
    const isAlike = last?.from === from && last.to === to && last.way === way
    if (
      isAlike &&
      last.slots.length < slotsMax &&
      last.keys + keys <= keysMax &&
      (way === undefined || last.ranges + ranges <= JOB_RANGES_MAX)
    ) {
      last.slots.push(slot)
      last.keys += keys
      last.ranges += ranges
    } else groups.push({ from, to, slots: [slot], keys, way, ranges: 1 })
  }
  const last = [...closing].flatMap(index => {
    const move = moves[index]
    return move === undefined ? [] : [{ ...move, keys: counts[index] ?? 0 }]
  })
  return [
    ...groups,
    ...last.map(({ slot, from, to, keys }) => ({
      from,
      to,
      slots: [slot],
      keys,
      way: undefined,
      isClosing: true as const
    }))
  ]
}
