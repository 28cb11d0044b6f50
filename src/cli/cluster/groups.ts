// Slot moves in groups, which are moved one after the other. Invariant: a group has one source, one
// target and one way, keeps the order of the moves, and stays within the limits of its way.
import { type Admin } from './admin.js'
import { atomicWay, type AtomicWay } from './atomic.js'
import { countAllKeys, countKeys } from './keys.js'
import { type ClusterMap } from './map.js'
import { type Move } from './plan.js'
import { closingMoves, keepsStaleNotes } from './stale-notes.js'

export type Group = {
  readonly from: string
  readonly to: string
  readonly slots: readonly number[]
  readonly keys: number
  readonly way: AtomicWay | undefined
  /** It is moved alone, after all others (stale-notes.ts). */
  readonly isClosing?: true
}

// A group is short, because its slots stay marked until all of it has moved, and a failover of the
// source in that time hides its moved keys from clients. It is not shorter, because each round of
// marks makes the nodes write their configuration to disk, also for empty slots.
const GROUP_SLOTS_MAX = 64
const GROUP_KEYS_MAX = 50
// Of jobs that the servers do themselves. Each one makes the source fork, so they are not small. An
// interrupted command waits for the job in progress, so they are not large.
const JOB_SLOTS_MAX = 512
const JOB_KEYS_MAX = 50_000
/**
 * With thousands of ranges in one job, the target's replica stopped applying its master's writes
 * (Valkey 9.1.2).
 */
const JOB_RANGES_MAX = 32

/** Asks the nodes what they have of each slot and how they can move it, and groups the moves. */
export async function readGroups(
  admin: Admin,
  map: ClusterMap,
  moves: readonly Move[],
  isByKeys: boolean
): Promise<Group[]> {
  const counts = await countsOf(admin, map, moves)
  const ways = isByKeys ? [] : await waysOf(admin, map, moves)
  const closing = (await keepsStaleNotes(admin, map))
    ? closingMoves(moves, counts, ways)
    : new Set<number>()
  return groupsOf(moves, counts, ways, closing)
}

/**
 * @param counts the number of keys of each move's slot
 * @param ways how the servers can do each move themselves, if they can
 * @param closing the indices of moves that come last, each in a group of its own
 */
function groupsOf(
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
    isClosing?: true
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
  for (const index of closing) {
    const move = moves[index]
    if (move === undefined) continue
    const { slot, from, to } = move
    const keys = counts[index] ?? 0
    groups.push({ from, to, slots: [slot], keys, way: undefined, ranges: 1, isClosing: true })
  }
  return groups
}

async function countsOf(admin: Admin, map: ClusterMap, moves: readonly Move[]): Promise<number[]> {
  const counts = new Map<number, number>()
  for (const id of new Set(moves.map(({ from }) => from))) {
    const source = map.nodes.get(id)
    const slots = moves.filter(({ from }) => from === id).map(({ slot }) => slot)
    if (source?.state !== 'up') continue
    for (const [index, count] of (await countKeys(admin, source, slots)).entries()) {
      counts.set(slots[index] ?? -1, count)
    }
  }
  return moves.map(({ slot }) => counts.get(slot) ?? 0)
}

// How the servers can do each move themselves. They cannot if the slot is half-moved already, or if
// the target has keys of it.
async function waysOf(
  admin: Admin,
  map: ClusterMap,
  moves: readonly Move[]
): Promise<Array<AtomicWay | undefined>> {
  const ways = new Map<string, AtomicWay | undefined>()
  const keys = new Map<string, readonly number[]>()
  for (const { from, to } of moves) {
    const [source, target] = [map.nodes.get(from), map.nodes.get(to)]
    if (source === undefined || target === undefined || ways.has(`${from} ${to}`)) continue
    ways.set(
      `${from} ${to}`,
      source.state === 'up' ? await atomicWay(admin, source, target) : undefined
    )
    if (!keys.has(to)) keys.set(to, await countAllKeys(admin, target, map))
  }
  return moves.map(({ slot, from, to }) => {
    const isMarked = map.masters.some(
      ({ migrating, importing }) => migrating.has(slot) || importing.has(slot)
    )
    return isMarked || map.ownerOf(slot) !== from || (keys.get(to)?.[slot] ?? 0) > 0
      ? undefined
      : ways.get(`${from} ${to}`)
  })
}
