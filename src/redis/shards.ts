// The cluster as a person wants to see it: shards with their nodes, slots, keys and memory. Asks
// each master; a master that does not answer is shown without figures.
import { type Cluster } from './cluster.js'
import { SLOT_COUNT } from './slots.js'
import { type ClusterNode } from './topology.js'

export type NodeDescription = { id: string; address: string; isUp: boolean }
export type ShardDescription = {
  id: string
  master: NodeDescription
  replicas: NodeDescription[]
  slots: Array<[first: number, last: number]>
  slotCount: number
  keys: number | null
  memoryBytes: number | null
}

/** Shards ordered by their first slot; masters without slots come last. */
export async function describeShards(cluster: Cluster): Promise<ShardDescription[]> {
  const nodes = [...cluster.topology.nodes]
  const owned = slotRanges(slot => cluster.topology.ownerOf(slot))
  const masters = nodes.filter(
    ([key, node]) => node.role === 'master' && (owned.has(key) || !node.isFailed)
  )
  const shards = await Promise.all(
    masters.map(async ([key, node]) => {
      const slots = owned.get(key) ?? []
      return {
        id: node.id,
        master: describe(key, node),
        replicas: nodes
          .filter(([, { role, masterId }]) => role === 'replica' && masterId === node.id)
          .map(([key, node]) => describe(key, node)),
        slots,
        slotCount: slots.reduce((sum, [first, last]) => sum + last - first + 1, 0),
        ...(await figures(cluster, key))
      }
    })
  )
  return shards.sort((a, b) => (a.slots[0]?.[0] ?? Infinity) - (b.slots[0]?.[0] ?? Infinity))
}

const describe = (address: string, { id, isFailed, isLinked }: ClusterNode): NodeDescription => ({
  id,
  address,
  isUp: !isFailed && isLinked
})

async function figures(
  cluster: Cluster,
  key: string
): Promise<{ keys: number | null; memoryBytes: number | null }> {
  try {
    const [keys, info] = await Promise.all([
      cluster.onNode(key, ['DBSIZE']),
      cluster.onNode(key, ['INFO', 'memory'])
    ])
    return {
      keys: Number(keys),
      memoryBytes: Number(/^used_memory:(\d+)/m.exec(String(info))?.[1] ?? Number.NaN)
    }
  } catch {
    return { keys: null, memoryBytes: null }
  }
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
