// The cluster as a person wants to see it: shards with their nodes, slots, keys and load, and the
// slots that are moving. Each master is asked for its own figures. If it does not answer, it is
// shown without them.
import { type Cluster } from './cluster.js'
import { isRedisError, type Reply } from './connection.js'
import { SLOT_COUNT } from './slots.js'
import { parseClusterNodes, type ClusterNode } from './topology.js'

export type NodeDescription = { id: string; address: string; isUp: boolean }

/** What a master says about itself; null if it does not answer, or may not be asked. */
export type ShardFigures = {
  keys: number | null
  memoryBytes: number | null
  /** Commands of all clients, as Redis averages them over the last moments. */
  operationsPerSecond: number | null
  /** Entries added to streams (blocks and logs) since the master was started. */
  entriesTotal: number | null
  /** How far the replica that lags most is behind, in bytes of the replication stream. */
  replicaLagBytes: number | null
}

export type ShardDescription = ShardFigures & {
  id: string
  master: NodeDescription
  replicas: NodeDescription[]
  slots: Array<[first: number, last: number]>
  slotCount: number
}

/** A slot that is moving. `from` and `to` are the `host:port` of the two masters. */
export type MovingSlot = { slot: number; from: string; to: string }

export type ClusterDescription = {
  /** Topology.version: the shards' slots are those of this version. */
  version: string
  /** In the order of their first slot; masters without slots come last. */
  shards: ShardDescription[]
  moving: MovingSlot[]
}

const NO_FIGURES: ShardFigures = {
  keys: null,
  memoryBytes: null,
  operationsPerSecond: null,
  entriesTotal: null,
  replicaLagBytes: null
}

export async function describeCluster(cluster: Cluster): Promise<ClusterDescription> {
  const looks = new Map(
    await Promise.all(
      [...cluster.topology.nodes]
        .filter(([, { role, isFailed }]) => role === 'master' && !isFailed)
        .map(async ([key]) => [key, await look(cluster, key)] as const)
    )
  )
  // Nothing is awaited from here on, so the whole answer is of one version.
  const { topology } = cluster
  const nodes = [...topology.nodes]
  const owned = slotRanges(slot => topology.ownerOf(slot))
  const shards = nodes
    .filter(([key, node]) => node.role === 'master' && (owned.has(key) || !node.isFailed))
    .map(([key, node]) => {
      const slots = owned.get(key) ?? []
      return {
        id: node.id,
        master: describe(key, node, looks.get(key)?.hasAnswered !== false),
        replicas: nodes
          .filter(([, { role, masterId }]) => role === 'replica' && masterId === node.id)
          .map(([key, node]) => describe(key, node)),
        slots,
        slotCount: slots.reduce((sum, [first, last]) => sum + last - first + 1, 0),
        ...(looks.get(key)?.figures ?? NO_FIGURES)
      }
    })
    .sort((a, b) => (a.slots[0]?.[0] ?? Infinity) - (b.slots[0]?.[0] ?? Infinity))
  const addressOfId = new Map(nodes.map(([key, { id }]) => [id, key]))
  const moving = [...looks].flatMap(([key, { migrating }]) =>
    migrating.map(({ slot, to }) => ({ slot, from: key, to: addressOfId.get(to) ?? to }))
  )
  return { version: topology.version, shards, moving }
}

const describe = (
  address: string,
  { id, isFailed, isLinked }: ClusterNode,
  hasAnswered = true
): NodeDescription => ({ id, address, isUp: !isFailed && isLinked && hasAnswered })

type Look = {
  readonly figures: ShardFigures
  /** False: nothing was heard of it, so what the others said of it last may be out of date. */
  readonly hasAnswered: boolean
  readonly migrating: ClusterNode['migrating']
}

async function look(cluster: Cluster, key: string): Promise<Look> {
  const [keys, info, nodes] = await Promise.allSettled([
    cluster.onNode(key, ['DBSIZE']),
    cluster.onNode(key, ['INFO', 'memory', 'stats', 'replication', 'commandstats']),
    cluster.onNode(key, ['CLUSTER', 'NODES'])
  ])
  const text = textOf(info)
  return {
    // It may refuse to answer a question. That is an answer, too.
    hasAnswered: [keys, info, nodes].some(
      result => result.status === 'fulfilled' || isRedisError(result.reason)
    ),
    figures: {
      keys: numberOr(keys.status === 'fulfilled' ? keys.value : undefined),
      memoryBytes: field(text, /^used_memory:(\d+)/m),
      operationsPerSecond: field(text, /^instantaneous_ops_per_sec:(\d+)/m),
      // Without such a line, nothing has been added yet.
      entriesTotal: text === '' ? null : (field(text, /^cmdstat_xadd:calls=(\d+)/m) ?? 0),
      replicaLagBytes: replicaLag(text)
    },
    // A node shows only its own moving slots. Addresses are not used here, so no host is passed.
    migrating: parseClusterNodes(textOf(nodes), '').flatMap(({ migrating }) => migrating)
  }
}

const textOf = (result: PromiseSettledResult<Reply>): string =>
  result.status === 'fulfilled' ? String(result.value) : ''

const numberOr = (reply: Reply | undefined): number | null =>
  reply === undefined ? null : Number(reply)

function field(text: string, pattern: RegExp): number | null {
  const found = pattern.exec(text)?.[1]
  return found === undefined ? null : Number(found)
}

// `slave0:ip=127.0.0.1,port=7004,state=online,offset=123,lag=0`
function replicaLag(info: string): number | null {
  const written = field(info, /^master_repl_offset:(\d+)/m)
  const received = [...info.matchAll(/^slave\d+:.*\boffset=(\d+)/gm)].map(([, text]) =>
    Number(text)
  )
  if (written === null || received.length === 0) return null
  return Math.max(0, written - Math.min(...received))
}

function slotRanges(
  ownerOf: (slot: number) => string | undefined
): Map<string, Array<[number, number]>> {
  const ranges = new Map<string, Array<[number, number]>>()
  for (let slot = 0; slot < SLOT_COUNT; slot++) {
    const owner = ownerOf(slot)
    if (owner === undefined) continue
    const own = ranges.get(owner) ?? []
    const last = own.at(-1)
    if (last?.[1] === slot - 1) last[1] = slot
    else own.push([slot, slot])
    ranges.set(owner, own)
  }
  return ranges
}
