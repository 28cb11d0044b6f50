// The command `status`: reads and prints. With a room, it also finds out, as the service would,
// which block lies where.
import { Cluster } from '../../redis/cluster.js'
import { addressKey } from '../../redis/address.js'
import { type Block } from '../../store/blocks.js'
import { Store } from '../../store/store.js'
import { type Order } from './cluster-options.js'
import { type Session } from './session.js'
import { blocksText, readStatus, statusText } from './status.js'

/** @returns the exit status: 1 if the cluster is not healthy */
export async function runStatus(
  session: Session,
  { room, isJson }: Extract<Order, { name: 'status' }>
): Promise<number> {
  const status = await readStatus(session.admin)
  const blocks = room === undefined ? undefined : await readBlocks(session, room)
  if (isJson) {
    session.say(
      JSON.stringify({ ...status, ...(blocks === undefined ? {} : { room, blocks }) }, null, 2)
    )
  } else {
    session.say(statusText(status))
    if (room !== undefined && blocks !== undefined) {
      session.say(`\n${blocksText(room, blocks, status.shards)}`)
    }
  }
  return status.isHealthy ? 0 : 1
}

async function readBlocks({ admin, config }: Session, room: string): Promise<Block[]> {
  const cluster = await Cluster.connect(
    { ...admin.target, ...config.cluster },
    { retried: () => {}, degraded: () => {} }
  )
  try {
    // Only reads, so there is nothing to publish.
    const store = new Store(cluster, {
      ...config.store,
      ...config.cluster,
      publish: () => {},
      onFault: () => {}
    })
    const blocks = await store.blocks.all(room)
    const map = await admin.look()
    return blocks.map(block => {
      const owner = map.nodes.get(map.ownerOf(block.slot) ?? '')
      return { ...block, shard: owner === undefined ? undefined : addressKey(owner.reachable) }
    })
  } finally {
    cluster.close()
  }
}
