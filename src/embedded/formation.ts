// Forms one cluster from empty nodes, and waits until a cluster is complete. Sends the same
// commands as `redis-cli --cluster create`, but to all nodes at once and with every node introduced
// to every other, so that nothing waits for gossip. What remains is the 2 s in which Redis refuses
// writes to a master that has just started (CLUSTER_WRITABLE_DELAY).

import { setTimeout as sleep } from 'node:timers/promises'
import { cluster, connect, type Connection } from './connection.js'
import type { EmbeddedNode } from './node.js'

const SLOT_COUNT = 16_384
const POLL_MS = 20

/** The first `shards` nodes become masters, the others their replicas in turn. */
export async function formCluster(
  nodes: readonly EmbeddedNode[],
  shards: number,
  deadlineMs: number
): Promise<void> {
  const deadline = Date.now() + deadlineMs
  await withConnections(nodes, async clients => {
    await Promise.all(
      clients.map(async (client, index) => {
        // Different epochs from the start; equal ones would be resolved by collisions, one after
        // the other.
        await cluster(client, 'SET-CONFIG-EPOCH', String(index + 1))
        if (index < shards) await cluster(client, 'ADDSLOTSRANGE', ...slotRange(index, shards))
        for (const other of nodes.slice(index + 1)) {
          await cluster(client, 'MEET', other.host, String(other.port))
        }
      })
    )
    const ids = await Promise.all(clients.map(client => cluster(client, 'MYID')))
    await Promise.all(
      clients.map(async (client, index) => {
        const masterId = ids[index % shards]
        if (index < shards || masterId === undefined) return
        await until(
          deadline,
          async () =>
            (await cluster(client, 'NODES')).includes(masterId) ||
            'a replica does not know its master'
        )
        await cluster(client, 'REPLICATE', masterId)
      })
    )
    await Promise.all(
      clients.map(client =>
        until(
          deadline,
          async () =>
            (await missingView(client, nodes.length, shards)) ?? (await missingLink(client)) ?? true
        )
      )
    )
  })
}

/**
 * Waits until every node that has met others says that the cluster works. Replicas may still be
 * loading data from their master: that can take long, and the shards work without them.
 */
export async function waitUntilUp(
  nodes: readonly EmbeddedNode[],
  deadlineMs: number
): Promise<void> {
  const deadline = Date.now() + deadlineMs
  await withConnections(nodes, async clients => {
    await Promise.all(
      clients.map(client =>
        until(deadline, async () => {
          const info = await infoUnlessLoading(client)
          return (
            info === undefined ||
            info.includes('cluster_known_nodes:1\r') ||
            stateOf(info) ||
            'a node says cluster_state:fail'
          )
        })
      )
    )
  })
}

// Every node has already loaded its own data. One that is loading again is a replica copying its
// master.
async function infoUnlessLoading(client: Connection): Promise<string | undefined> {
  try {
    return await cluster(client, 'INFO')
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('LOADING')) return undefined
    throw error
  }
}

/** How many keys the nodes hold together, including replicas. */
export async function countKeys(nodes: readonly EmbeddedNode[]): Promise<number> {
  return await withConnections(nodes, async clients => {
    const sizes = await Promise.all(clients.map(client => client.dbSize()))
    return sizes.reduce((sum, size) => sum + size, 0)
  })
}

function slotRange(shard: number, shards: number): [string, string] {
  const first = (index: number) => Math.round((index * SLOT_COUNT) / shards)
  return [String(first(shard)), String(first(shard + 1) - 1)]
}

// What this node does not see yet; undefined once it sees the whole cluster, with all masters and
// replicas.
async function missingView(
  client: Connection,
  nodeCount: number,
  shards: number
): Promise<string | undefined> {
  const info = await cluster(client, 'INFO')
  if (!stateOf(info)) return 'a node says cluster_state:fail'
  if (!info.includes(`cluster_slots_ok:${SLOT_COUNT}\r`)) {
    return 'a node does not know the owner of every slot'
  }
  const lines = (await cluster(client, 'NODES')).trimEnd().split('\n')
  if (lines.length !== nodeCount || lines.some(line => line.includes('handshake'))) {
    return 'a node does not know all others'
  }
  const replicaCount = lines.filter(line => /^\S+ \S+ \S*slave/.test(line)).length
  return replicaCount === nodeCount - shards ? undefined : 'a node does not know all replicas'
}

async function missingLink(client: Connection): Promise<string | undefined> {
  const info = await client.info('replication')
  return info.includes('role:master') || info.includes('master_link_status:up')
    ? undefined
    : 'a replica is not connected to its master'
}

function stateOf(info: string): boolean {
  return info.includes('cluster_state:ok')
}

// `check` returns true, or says what is missing.
async function until(deadline: number, check: () => Promise<boolean | string>): Promise<void> {
  for (;;) {
    const result = await check()
    if (result === true) return
    if (Date.now() >= deadline) {
      throw new Error(`the embedded cluster did not become ready: ${result}`)
    }
    await sleep(POLL_MS)
  }
}

async function withConnections<Result>(
  nodes: readonly EmbeddedNode[],
  use: (clients: Connection[]) => Promise<Result>
): Promise<Result> {
  const opened = await Promise.allSettled(nodes.map(node => connect(node.url)))
  const clients = opened.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
  try {
    for (const result of opened) if (result.status === 'rejected') throw result.reason
    return await use(clients)
  } finally {
    await Promise.all(clients.map(client => (client.isOpen ? client.disconnect() : undefined)))
  }
}
