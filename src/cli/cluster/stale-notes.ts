// Redis 7.0.13 to 7.0.15 and 7.2.0 to 7.2.3 can undo a move at the next failover
// (https://github.com/redis/redis/pull/12564). A node may read a message of a slot's new owner that
// is older than what it knows already, from a newer message over another connection or from the
// command that moved the slot. Then it notes that the owner does not claim the slot, and keeps this
// note even when it becomes the owner itself. When another node then claims the slot with an old
// epoch, as a dead master that comes back does, it gives up the slot and deletes its keys, and in
// the end nobody owns the slot.
//
// A node corrects all its notes about an owner when it reads a message from it with other slots
// than it knows. So for each target one slot, with as few keys as possible, is moved alone after
// all others, when no old message can be on its way any more, and nobody but the target tells the
// nodes. After 31 of 60 moves of 200 slots on a busy machine some node had kept a note; with this,
// after none of 60. A late message can still hit the last slot.
import { type Admin } from './admin.js'
import { type AtomicWay } from './atomic.js'
import { type ClusterMap } from './map.js'
import { type Move } from './plan.js'

/** Whether any node is of such a version. */
export async function keepsStaleNotes(admin: Admin, map: ClusterMap): Promise<boolean> {
  const nodes = [...map.nodes.values()].filter(({ state }) => state === 'up')
  const infos = await Promise.allSettled(nodes.map(node => admin.ask(node, 'INFO', 'server')))
  return infos.some(info => info.status === 'fulfilled' && isAffected(String(info.value)))
}

/** @param info the reply to INFO; Valkey calls itself Redis 7.2.4 there */
export function isAffected(info: string): boolean {
  const [, minor, patch] = /^redis_version:7\.([02])\.(\d+)/m.exec(info) ?? []
  return (minor === '0' && Number(patch) >= 13) || (minor === '2' && Number(patch) < 4)
}

/** The indices of the moves that come last: for each target the one with the fewest keys. */
export function closingMoves(
  moves: readonly Move[],
  counts: readonly number[],
  ways: ReadonlyArray<AtomicWay | undefined>
): Set<number> {
  const last = new Map<string, number>()
  for (const [index, { to }] of moves.entries()) {
    const best = last.get(to)
    const isBetter = best === undefined || (counts[index] ?? 0) <= (counts[best] ?? 0)
    if (ways[index] === undefined && isBetter) last.set(to, index)
  }
  return new Set(last.values())
}
