// Finds what there is to check: rooms, and the keys of a room that its log may not know of (blocks
// with only orphans, unexpected segments). Uses SCAN on every master, because there is no directory
// of rooms. A key that exists during the whole scan is found (https://redis.io/commands/scan). A
// key that moves to another node may be missed; then an orphan or a room is found the next time.
import { ConnectionLost } from '../../redis/connection.js'
import { type Cluster } from '../../redis/cluster.js'
import { parseKey } from '../../store/keys.js'

export type RoomKeys = {
  /** `<user>.<block>` of every block, with its generation if the room was deleted before. */
  readonly tags: Set<string>
  readonly segments: Set<number>
}

const SCAN_COUNT = 1000
const ATTEMPTS_MAX = 3

/**
 * All rooms that have any key except idempotency keys, with their number of blocks. Memory grows
 * with the number of rooms.
 */
export async function findRooms(cluster: Cluster): Promise<Map<string, number>> {
  const rooms = new Map<string, number>()
  await scan(cluster, undefined, key => {
    const meaning = parseKey(key)
    if (meaning === undefined || !('room' in meaning) || meaning.kind === 'once') return
    rooms.set(meaning.room, (rooms.get(meaning.room) ?? 0) + (meaning.kind === 'block' ? 1 : 0))
  })
  return rooms
}

/** The keys of some rooms. Memory grows with the number of their blocks. */
export async function findKeys(
  cluster: Cluster,
  rooms: readonly string[]
): Promise<Map<string, RoomKeys>> {
  const found = new Map<string, RoomKeys>(
    rooms.map(room => [room, { tags: new Set(), segments: new Set() }])
  )
  const [only] = rooms
  await scan(
    cluster,
    rooms.length === 1 && only !== undefined ? `*${escapeGlob(only)}*` : undefined,
    key => {
      const meaning = parseKey(key)
      if (meaning?.kind === 'block' || meaning?.kind === 'changed') {
        found.get(meaning.room)?.tags.add(meaning.tag)
      }
      if (meaning?.kind === 'segment') found.get(meaning.room)?.segments.add(meaning.segment)
    }
  )
  return found
}

/** The keys of all blocks of a user, over all rooms. */
export async function findBlocks(cluster: Cluster, user: string): Promise<Set<string>> {
  const found = new Set<string>()
  await scan(cluster, `*{${escapeGlob(user)}.*`, key => {
    const meaning = parseKey(key)
    if (meaning?.kind === 'block' && meaning.user === user) found.add(key)
  })
  return found
}

/** Groups of rooms with at most `blocksMax` blocks each, unless a single room has more. */
export function groupsOf(rooms: ReadonlyMap<string, number>, blocksMax: number): string[][] {
  const groups: string[][] = []
  let blocks = Infinity
  for (const [room, count] of rooms) {
    blocks += count
    if (blocks > blocksMax) {
      groups.push([])
      blocks = count
    }
    groups.at(-1)?.push(room)
  }
  return groups
}

// Scans all masters at once. If one is lost, the node that takes its place is scanned from the
// start.
async function scan(
  cluster: Cluster,
  pattern: string | undefined,
  onKey: (key: string) => void
): Promise<void> {
  const done = new Set<string>()
  for (let attempt = 1; ; attempt++) {
    const masters = cluster.topology.masters.filter(master => !done.has(master))
    const outcomes = await Promise.allSettled(
      masters.map(async master => {
        await scanNode(cluster, master, pattern, onKey)
        done.add(master)
      })
    )
    const failed = outcomes.find(outcome => outcome.status === 'rejected')
    if (failed === undefined) return
    if (attempt === ATTEMPTS_MAX || !(failed.reason instanceof ConnectionLost)) throw failed.reason
    await cluster.refresh()
  }
}

async function scanNode(
  cluster: Cluster,
  master: string,
  pattern: string | undefined,
  onKey: (key: string) => void
): Promise<void> {
  let cursor = '0'
  do {
    const args = [
      'SCAN',
      cursor,
      'COUNT',
      String(SCAN_COUNT),
      ...(pattern === undefined ? [] : ['MATCH', pattern])
    ]
    // SCAN returns the next cursor and keys.
    const [next, keys] = (await cluster.onNode(master, args)) as readonly [
      string,
      readonly string[]
    ]
    for (const key of keys) onKey(key)
    cursor = next
  } while (cursor !== '0')
}

const escapeGlob = (text: string): string =>
  text.replace(/[*?[\]\\^]/g, character => `\\${character}`)
