// By Redis' default, a master that gives away its last slot becomes a replica of the one that took
// it, and so do its own replicas. But draining a shard should leave an empty shard, to remove or to
// refill. So the nodes are told to stay what they are in the meantime
// (https://redis.io/docs/latest/operate/oss_and_stack/management/scaling/,
// cluster-allow-replica-migration).
import { type Admin } from './admin.js'
import { type ClusterMap, type MapNode } from './map.js'

const OPTION = 'cluster-allow-replica-migration'
const HEARD_MS_MAX = 5000

/**
 * Tells the nodes of these shards to stay. The returned function releases them once they know that
 * the slots are gone.
 */
export async function keepReplicas(
  admin: Admin,
  map: ClusterMap,
  masterIds: readonly string[]
): Promise<() => Promise<void>> {
  const held: MapNode[] = []
  for (const id of masterIds) {
    for (const node of [map.nodes.get(id), ...map.replicasOf(id)]) {
      if (node?.state === 'up' && (await wasAllowed(admin, node))) held.push(node)
    }
  }
  return async () => {
    if (held.length === 0) return
    // A node that does not hear of it in time may become a replica after all; that is harmless.
    await admin
      .until(({ disputed }) => (disputed.length > 0 ? 'the nodes agree' : undefined), HEARD_MS_MAX)
      .catch(() => undefined)
    await Promise.allSettled(held.map(node => admin.ask(node, 'CONFIG', 'SET', OPTION, 'yes')))
  }
}

// Managed clusters forbid CONFIG; there, Redis' default applies.
async function wasAllowed(admin: Admin, node: MapNode): Promise<boolean> {
  try {
    // Name and value.
    const [, value] = (await admin.ask(node, 'CONFIG', 'GET', OPTION)) as readonly string[]
    if (value !== 'yes') return false
    await admin.ask(node, 'CONFIG', 'SET', OPTION, 'no')
    return true
  } catch {
    return false
  }
}
