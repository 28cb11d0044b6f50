// Makes a replica the master of its shard without losing a write: the old master pauses its clients
// until the replica has everything (a manual failover, https://redis.io/commands/cluster-failover).
// Does not replace dead masters; the cluster does that itself.
import { messageOf } from '../../errors.js'
import { type Admin } from './admin.js'
import { type ClusterMap, type MapNode, nodeText } from './map.js'
import { Refusal } from './refusal.js'

const TAKEN_OVER_MS_MAX = 6000 // Redis gives a manual failover up after 5 s
const ATTEMPTS_MAX = 3

/**
 * The replica that takes over: the one that is named, or the most up-to-date replica of a named
 * master.
 * @throws Refusal when there is none
 */
export async function successorOf(admin: Admin, map: ClusterMap, named: MapNode): Promise<MapNode> {
  const master = map.masterOf(named.id)
  if (master === undefined || master.state !== 'up') {
    throw new Refusal(
      `The master of ${nodeText(named)} does not answer: the cluster itself replaces a dead master if it has a replica.`
    )
  }
  if (map.slotsOf(master.id).length === 0) {
    throw new Refusal(`${nodeText(master)} has no slots: there is nothing to take over.`)
  }
  const candidates = named.role === 'replica' ? [named] : map.replicasOf(master.id)
  const offsets = await Promise.all(candidates.map(replica => offsetOf(admin, replica)))
  const best = Math.max(-1, ...offsets)
  const replica = best < 0 ? undefined : candidates[offsets.indexOf(best)]
  if (replica === undefined) {
    throw new Refusal(`${nodeText(named)} has no connected replica that could take over.`)
  }
  return replica
}

/**
 * Promotes a replica, and resolves when every node knows.
 * @throws Stuck when that does not happen
 */
export async function failover(admin: Admin, replica: MapNode): Promise<ClusterMap> {
  let lastError: unknown
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    await admin.ask(replica, 'CLUSTER', 'FAILOVER').catch((error: unknown) => {
      // The previous attempt has promoted it, but took longer than the wait.
      if (!messageOf(error).includes('send CLUSTER FAILOVER to a replica')) throw error
    })
    try {
      return await admin.until(
        map =>
          map.nodes.get(replica.id)?.role === 'master' && map.faults.length === 0
            ? undefined
            : `${nodeText(replica)} is a master and all nodes agree`,
        TAKEN_OVER_MS_MAX
      )
    } catch (error) {
      lastError = error
    }
  }
  throw lastError
}

// How far a replica has read its master's stream; -1 if it is not connected.
async function offsetOf(admin: Admin, replica: MapNode): Promise<number> {
  if (replica.state !== 'up') return -1
  const info = String(await admin.ask(replica, 'INFO', 'replication'))
  if (!info.includes('master_link_status:up')) return -1
  return Number(/^slave_repl_offset:(\d+)/m.exec(info)?.[1] ?? -1)
}
