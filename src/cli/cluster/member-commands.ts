// The commands that change which nodes belong to the cluster and which leads a shard: add, remove,
// failover. For the embedded cluster they also start and end redis-server processes; otherwise the
// operator provides the nodes.
import { type RunningCluster } from '../../embedded/running.js'
import { type Address, addressKey } from '../../redis/address.js'
import { time } from '../progress.js'
import { type Admin } from './admin.js'
import { type Order } from './cluster-options.js'
import { failover, successorOf } from './failover.js'
import { type ClusterMap, type MapNode, nodeText } from './map.js'
import {
  addReplicas,
  addShard,
  checkMayJoin,
  checkMayLeave,
  follow,
  removeNodes
} from './membership.js'
import { Refusal } from './refusal.js'
import { type Session } from './session.js'

type OrderOf<Name extends Order['name']> = Extract<Order, { name: Name }>

/** @throws Refusal before anything was changed */
export async function runAdd(session: Session, order: OrderOf<'add'>): Promise<void> {
  const map = await session.ready()
  const master = order.replicaOf === undefined ? undefined : map.masterNamed(order.replicaOf)
  const wanted =
    order.addresses.length > 0
      ? order.addresses.length
      : master === undefined
        ? 1 + order.replicas
        : 1
  const { embedded } = session
  if (order.addresses.length === 0 && embedded === undefined) {
    throw new Refusal(
      'This is not an embedded cluster: name the empty nodes that are to join, add HOST:PORT [HOST:PORT …].'
    )
  }
  for (const address of order.addresses) await checkMayJoin(session.admin, map, address)
  const what =
    master === undefined
      ? (['a master', 'a master and its replica'][wanted - 1] ??
        `a master and its ${wanted - 1} replicas`)
      : `${wanted === 1 ? 'a replica' : `${wanted} replicas`} of ${nodeText(master)}`
  session.say(
    order.addresses.length > 0
      ? `${order.addresses.map(addressKey).join(', ')} will join as ${what}.`
      : `Redis nodes will be started: ${what}.`
  )
  await session.confirm('Add them?')

  const addresses =
    order.addresses.length > 0 || embedded === undefined
      ? order.addresses
      : await startNodes(embedded, map, wanted, master)
  const [first, ...others] = addresses
  if (first === undefined) return
  if (master !== undefined) {
    const replicas = await addReplicas(session.admin, master, addresses)
    embedded?.joined(addresses)
    return session.say(
      `Added ${replicas.map(nodeText).join(', ')} to the shard of ${nodeText(master)}.`
    )
  }
  const added = await addShard(session.admin, first, others)
  embedded?.joined(addresses)
  session.say(
    `Added ${nodeText(added)}${others.length === 0 ? '' : ` with ${others.map(addressKey).join(', ')}`}. It has no slots yet: npm run cluster -- rebalance`
  )
}

/** @throws Refusal before anything was changed */
export async function runRemove(session: Session, order: OrderOf<'remove'>): Promise<void> {
  const map = await session.ready()
  const node = map.named(order.node)
  const replicas = map.replicasOf(node.id)
  const staying = order.isKeepingReplicas ? replicas.filter(({ state }) => state === 'up') : []
  const leaving = [node, ...replicas.filter(replica => !staying.includes(replica))]
  await checkMayLeave(session.admin, map, node, [...leaving, ...staying])
  const hosts = staying.map((_, index) => neediest(map, node, index))

  session.say(
    `These will leave for good: ${leaving.map(nodeText).join(', ')}.${session.embedded === undefined ? '' : ' Their processes are ended and their folders removed.'}`
  )
  for (const [index, replica] of staying.entries()) {
    session.say(`${nodeText(replica)} will follow ${nodeText(hosts[index] ?? replica)}.`)
  }
  const master = map.masterOf(node.id)
  if (node.role === 'replica' && master !== undefined && map.replicasOf(master.id).length === 1) {
    session.say(`Note: then ${nodeText(master)} has no replica.`)
  }
  if (node.state !== 'up') {
    session.say(`Note: ${nodeText(node)} does not answer. What only it had is lost.`)
  }
  await session.confirm('Remove them?')

  for (const [index, replica] of staying.entries()) {
    await follow(session.admin, replica, hosts[index] ?? replica)
  }
  await removeNodes(session.admin, leaving)
  for (const { reachable } of leaving) await session.embedded?.forgetNode(reachable)
  if (session.embedded !== undefined) await forgetEmptied(session.admin, session.embedded)
  session.say(`Removed ${leaving.map(nodeText).join(', ')}.`)
  if (
    session.embedded === undefined &&
    session.admin.target.seeds.some(seed =>
      leaving.some(({ reachable }) => addressKey(reachable) === addressKey(seed))
    )
  ) {
    session.say('One of them is in REDIS_NODES: take it out before the next start of the service.')
  }
}

/** @throws Refusal before anything was changed */
export async function runFailover(session: Session, order: OrderOf<'failover'>): Promise<void> {
  const map = await session.ready()
  const replica = await successorOf(session.admin, map, map.named(order.node))
  const master = map.masterOf(replica.id)
  session.say(
    `${nodeText(replica)} will take over from ${master === undefined ? 'its master' : nodeText(master)}.`
  )
  await session.confirm('Do it?')
  const startedMs = performance.now()
  await failover(session.admin, replica)
  session.say(
    `${nodeText(replica)} is the master, all nodes agree; it took ${time(performance.now() - startedMs)}.`
  )
}

// Ends nodes that an interrupted `remove` has emptied but not ended. They know no cluster any more,
// so the repeated command does not find them among the nodes that leave.
async function forgetEmptied(admin: Admin, embedded: RunningCluster): Promise<void> {
  const map = await admin.look()
  const kept = new Set(
    [...[...map.nodes.values()].map(({ reachable }) => reachable), ...embedded.joining].map(
      addressKey
    )
  )
  for (const address of embedded.addresses) {
    if (kept.has(addressKey(address))) continue
    const isEmpty = await checkMayJoin(admin, map, address).then(
      () => true,
      () => false
    )
    if (isEmpty) await embedded.forgetNode(address)
  }
}

// Nodes that an interrupted `add` has left come first.
async function startNodes(
  embedded: RunningCluster,
  map: ClusterMap,
  wanted: number,
  master: MapNode | undefined
): Promise<Address[]> {
  const nodes = leftOver(embedded, map, master).slice(0, wanted)
  while (nodes.length < wanted) nodes.push(await embedded.addNode())
  return nodes
}

/**
 * The nodes that an interrupted `add` has started and may go on with. First those that have joined
 * as a shard, its master first, or as replicas of the master that is to get some; then those that
 * have not joined.
 */
function leftOver(
  embedded: RunningCluster,
  map: ClusterMap,
  master: MapNode | undefined
): Address[] {
  const members = new Map([...map.nodes.values()].map(node => [addressKey(node.reachable), node]))
  const memberOf = (address: Address): MapNode | undefined => members.get(addressKey(address))
  const strangers = embedded.addresses.filter(address => memberOf(address) === undefined)
  const joined = embedded.joining.flatMap(address => memberOf(address) ?? [])
  const empty = joined.filter(({ role, id }) => role === 'master' && map.slotsOf(id).length === 0)
  const replicasOf = ({ id }: MapNode): MapNode[] =>
    joined.filter(({ role, masterId }) => role === 'replica' && masterId === id)
  const alone = empty.filter(({ id }) => map.replicasOf(id).length === 0)
  const shards = empty
    .filter(node => !alone.includes(node))
    .flatMap(node => [node, ...replicasOf(node)])
  const usable = master === undefined ? [...shards, ...alone] : [...replicasOf(master), ...alone]
  return [
    ...usable.filter(({ state }) => state === 'up').map(({ reachable }) => reachable),
    ...strangers
  ]
}

// The master with slots that has the fewest replicas; `turn` of them have been assigned already.
function neediest(map: ClusterMap, leaving: MapNode, turn: number): MapNode {
  const masters = map.masters
    .filter(({ id, state }) => id !== leaving.id && state === 'up' && map.slotsOf(id).length > 0)
    .sort((a, b) => map.replicasOf(a.id).length - map.replicasOf(b.id).length)
  const master = masters[turn % Math.max(1, masters.length)]
  if (master === undefined) {
    throw new Refusal('There is no other master with slots that its replicas could follow.')
  }
  return master
}
