// The cluster that a check looks at: that of REDIS_NODES, the embedded cluster of a running
// service, or the embedded cluster of a stopped service, which is started for the check and then
// stopped again. Never creates a new one.
import { type Config } from '../../config.js'
import { redisTarget } from '../../config/redis-target.js'
import { EmbeddedCluster } from '../../embedded/cluster.js'
import { RunningCluster } from '../../embedded/running.js'
import { addressKey } from '../../redis/address.js'
import { Cluster } from '../../redis/cluster.js'
import { UsageError } from '../options.js'

export type Target = { readonly cluster: Cluster; readonly close: () => Promise<void> }

/**
 * @param acceptsLoss nodes of a stopped embedded cluster that have lost their data are restored
 * from the others
 * @param report gets a line for each step worth showing
 * @throws UsageError when there is no cluster to check; DialogsError or Error when it does not
 * answer
 */
export async function openTarget(
  config: Config,
  report: (line: string) => void,
  acceptsLoss = false
): Promise<Target> {
  if (config.redis !== undefined) return connected(config, config.redis, async () => {})
  const running = RunningCluster.find(config.embedded.dataDir, config.embedded.nodeTimeoutMs)
  if (running === undefined) {
    throw new UsageError(
      `There is no embedded cluster in ${config.embedded.dataDir}: set DATA_DIR to where the service has it, or REDIS_NODES to a cluster of your own.`
    )
  }
  const { addresses } = running
  if (addresses.length > 0) {
    return connected(
      config,
      redisTarget(addresses.map(address => `redis://${addressKey(address)}`)),
      async () => {}
    )
  }
  const embedded = await EmbeddedCluster.start({ ...config.embedded, acceptsLoss, report })
  try {
    return await connected(config, redisTarget(embedded.urls), () => embedded.stop())
  } catch (error) {
    await embedded.stop()
    throw error
  }
}

async function connected(
  config: Config,
  redis: NonNullable<Config['redis']>,
  stop: () => Promise<void>
): Promise<Target> {
  const cluster = await Cluster.connect(
    { ...redis, ...config.cluster },
    { retried: () => {}, degraded: () => {} }
  )
  return {
    cluster,
    close: async () => {
      cluster.close()
      await stop()
    }
  }
}
