// Which nodes belong to the cluster: new, empty nodes join as masters or replicas, and nodes leave
// for good. No slot moves here: a new master has none, and a master with slots may not leave. Every
// step may be repeated after an interruption.
import { lookup } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../errors.js'
import { type Address, addressKey } from '../../redis/address.js'
import { type Admin } from './admin.js'
import { type ClusterMap, type MapNode, nodeText } from './map.js'
import { Refusal, Stuck } from './refusal.js'

const JOIN_MS_MAX = 20_000
/** Includes copying all of its master's data. */
const SYNC_MS_MAX = 600_000
const MEET_AGAIN_MS = 1000
const POLL_MS = 50

/**
 * Adds a shard: an empty master with its replicas. Resolves when every node knows all of them and
 * the replicas are connected.
 * @returns the new master
 * @throws Refusal when one of the nodes is not an empty cluster node of its own
 */
export async function addShard(
  admin: Admin,
  master: Address,
  replicas: readonly Address[] = []
): Promise<MapNode> {
  const [joined, ...followers] = await join(admin, [master, ...replicas])
  if (joined === undefined) throw new Error('no master joined')
  for (const replica of followers) await follow(admin, replica, joined)
  return joined
}

/** Adds replicas to a master. @throws Refusal as `addShard` */
export async function addReplicas(
  admin: Admin,
  master: MapNode,
  replicas: readonly Address[]
): Promise<MapNode[]> {
  const joined = await join(admin, replicas)
  for (const replica of joined) await follow(admin, replica, master)
  return joined
}

/** Makes a node a replica of this master, and waits until it has all its data. */
export async function follow(admin: Admin, replica: MapNode, master: MapNode): Promise<void> {
  await admin.ask(replica, 'CLUSTER', 'REPLICATE', master.id)
  const deadline = performance.now() + SYNC_MS_MAX
  while (
    !String(await admin.ask(replica, 'INFO', 'replication')).includes('master_link_status:up')
  ) {
    if (performance.now() > deadline) {
      throw new Stuck(`${nodeText(replica)} does not connect to its master ${nodeText(master)}`)
    }
    await sleep(POLL_MS)
  }
  await admin.until(
    map =>
      map.nodes.get(replica.id)?.masterId === master.id
        ? undefined
        : `the nodes know that ${nodeText(replica)} is a replica`,
    JOIN_MS_MAX
  )
}

/**
 * Removes nodes from the cluster for good: the others forget them, and those that still answer are
 * emptied and forget the others. Replicas of a leaving master must leave with it or first follow
 * another one.
 * @throws Refusal when a node has slots, has keys, or leaves replicas behind
 */
export async function removeNodes(admin: Admin, leaving: readonly MapNode[]): Promise<void> {
  const map = await admin.look()
  for (const node of leaving) await checkMayLeave(admin, map, node, leaving)
  const isLeaving = (node: MapNode): boolean => leaving.some(({ id }) => id === node.id)
  const staying = [...map.nodes.values()].filter(node => !isLeaving(node) && node.state === 'up')
  // All at once: a node that still knows the leaving one tells the others of it. A node that has
  // forgotten another does not let it in again for a minute.
  await Promise.all(staying.flatMap(node => leaving.map(({ id }) => forget(admin, node, id))))
  for (const node of [...leaving].sort((a, b) =>
    a.role === b.role ? 0 : a.role === 'replica' ? -1 : 1
  )) {
    await reset(admin, node)
  }
  await admin.until(
    now =>
      [...now.nodes.values()].some(isLeaving)
        ? 'the nodes have forgotten the ones that left'
        : undefined,
    JOIN_MS_MAX
  )
}

/** @throws Refusal when the node may not leave together with these others */
export async function checkMayLeave(
  admin: Admin,
  map: ClusterMap,
  node: MapNode,
  leaving: readonly MapNode[]
): Promise<void> {
  const slots = map.slotsOf(node.id).length
  if (slots > 0) throw new Refusal(`${nodeText(node)} has ${slots} slots: drain it first.`)
  const left = map.replicasOf(node.id).find(({ id }) => !leaving.some(other => other.id === id))
  if (left !== undefined) {
    throw new Refusal(
      `${nodeText(left)} is a replica of ${nodeText(node)} and would be left behind.`
    )
  }
  if (node.role === 'replica' || node.state !== 'up') return
  const keys = Number(await admin.ask(node, 'DBSIZE'))
  if (keys > 0) {
    throw new Refusal(
      `${nodeText(node)} has no slots, but ${keys} keys of half-moved slots: drain it, which finishes them.`
    )
  }
}

/**
 * Returns the id of a node that may join. A node without slots that has already joined is
 * fine: the last command was interrupted.
 * @throws Refusal when it does not answer, is not a cluster node, has slots or keys, or knows other
 * nodes
 */
export async function checkMayJoin(
  admin: Admin,
  map: ClusterMap,
  address: Address
): Promise<string> {
  const place = { reachable: admin.reachable(address) }
  const where = addressKey(address)
  const cluster = String(
    await admin.ask(place, 'INFO', 'cluster').catch((error: unknown) => {
      throw new Refusal(`${where} does not answer: ${messageOf(error)}`, { cause: error })
    })
  )
  if (!cluster.includes('cluster_enabled:1')) {
    throw new Refusal(`${where} is not a cluster node: start it with cluster-enabled yes.`)
  }
  const id = String(await admin.ask(place, 'CLUSTER', 'MYID'))
  if (map.nodes.has(id)) {
    if (map.slotsOf(id).length > 0) {
      throw new Refusal(`${where} is in the cluster already and has slots.`)
    }
    return id
  }
  if (Number(await admin.ask(place, 'DBSIZE')) > 0) {
    throw new Refusal(`${where} has keys: an empty node is needed.`)
  }
  const info = String(await admin.ask(place, 'CLUSTER', 'INFO'))
  if (!info.includes('cluster_known_nodes:1\r') || !info.includes('cluster_slots_assigned:0\r')) {
    throw new Refusal(`${where} belongs to another cluster: an empty node is needed.`)
  }
  return id
}

async function join(admin: Admin, addresses: readonly Address[]): Promise<MapNode[]> {
  const map = await admin.look()
  const members = [...map.nodes.values()].filter(({ state }) => state === 'up')
  const ids = await Promise.all(addresses.map(address => checkMayJoin(admin, map, address)))
  const isIn = (now: ClusterMap): boolean =>
    now.faults.length === 0 &&
    ids.every(id => now.nodes.get(id)?.state === 'up') &&
    [...ids, ...members.map(({ id }) => id)].every(id => now.nodes.get(id)?.isKnown === true)
  const deadline = performance.now() + JOIN_MS_MAX
  // Each node is introduced to all others, because gossip alone takes seconds. A handshake may be
  // lost, so this is repeated until they know each other.
  while (performance.now() < deadline) {
    for (const [index, address] of addresses.entries()) {
      const place = { reachable: admin.reachable(address) }
      const others = [...members.map(({ address }) => address), ...addresses.slice(index + 1)]
      for (const other of others) {
        await admin.ask(place, 'CLUSTER', 'MEET', await ipOf(other.host), String(other.port))
      }
    }
    const joined = await admin
      .until(now => (isIn(now) ? undefined : 'the nodes know each other'), MEET_AGAIN_MS)
      .catch(() => undefined)
    if (joined !== undefined) return ids.flatMap(id => joined.nodes.get(id) ?? [])
  }
  throw new Stuck(
    `${addresses.map(addressKey).join(', ')} could not join within ${JOIN_MS_MAX / 1000} s: can the nodes reach each other, also on their bus ports (port + 10000)?`
  )
}

// CLUSTER MEET does not accept host names.
const ipOf = async (host: string): Promise<string> => (await lookup(host)).address

async function forget(admin: Admin, node: MapNode, id: string): Promise<void> {
  await admin.ask(node, 'CLUSTER', 'FORGET', id).catch((error: unknown) => {
    if (!String(error).includes('Unknown node')) throw error
  })
}

// A dead node is only forgotten. A replica is emptied by becoming a master, so that it does not
// keep data that is no longer its own.
async function reset(admin: Admin, node: MapNode): Promise<void> {
  if (node.state !== 'up') return
  await admin.ask(node, 'CLUSTER', 'RESET', 'HARD')
}
