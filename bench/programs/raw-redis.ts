// The limit of Redis: the same cluster, plain XADD or XRANGE in pipelines over raw connections.
// Like the service's, a pipeline of writes ends with a WAIT for one replica. There are two
// connections to each master, so that one sends while the other waits.
import { serve } from '../program.js'
import { RawConnection } from '../raw-connection.js'
import { encodeCommand } from '../../src/redis/resp.js'

export type RawRedisMethods = {
  /** XADDs to one key per master. Resolves with entries per second. */
  xadd: (options: {
    readonly keys: ReadonlyArray<readonly [node: string, key: string]>
    readonly seconds: number
    readonly textBytes: number
  }) => Promise<number>
  /** Reads streams from end to end. Resolves with the time for all of them. */
  xrange: (options: {
    readonly keys: ReadonlyArray<readonly [node: string, key: string]>
  }) => Promise<{ readonly seconds: number; readonly bytes: number }>
}

const CONNECTIONS_PER_NODE = 2
const XADDS_PER_PIPELINE = 256
const XRANGES_PER_PIPELINE = 4
const REPLICATED_MS_MAX = 1000

async function withConnections<T>(
  nodes: readonly string[],
  use: (
    connections: ReadonlyArray<readonly [node: string, connection: RawConnection]>
  ) => Promise<T>
): Promise<T> {
  const connections = nodes.flatMap(node =>
    Array.from({ length: CONNECTIONS_PER_NODE }, () => [node, new RawConnection(node)] as const)
  )
  try {
    return await use(connections)
  } finally {
    for (const [, connection] of connections) connection.close()
  }
}

serve({
  async xadd({ keys, seconds, textBytes }) {
    const byNode = new Map(keys)
    const text = 'x'.repeat(textBytes)
    return await withConnections([...byNode.keys()], async connections => {
      const startedMs = performance.now()
      const until = startedMs + 1000 * seconds
      const pipelines = await Promise.all(
        connections.map(async ([node, connection]) => {
          const xadd = encodeCommand(['XADD', byNode.get(node) ?? '', '*', 't', text])
          const pipeline = Buffer.from(
            xadd.repeat(XADDS_PER_PIPELINE) +
              encodeCommand(['WAIT', '1', String(REPLICATED_MS_MAX)])
          )
          let sent = 0
          for (; performance.now() < until; sent++) await connection.exchange(pipeline)
          return sent
        })
      )
      const elapsedMs = performance.now() - startedMs
      return (
        ((XADDS_PER_PIPELINE * pipelines.reduce((sum, sent) => sum + sent, 0)) / elapsedMs) * 1000
      )
    })
  },
  async xrange({ keys }) {
    const queues = new Map<string, string[]>()
    for (const [node, key] of keys) {
      const queue = queues.get(node) ?? []
      if (queue.push(encodeCommand(['XRANGE', key, '-', '+'])) === 1) queues.set(node, queue)
    }
    return await withConnections([...queues.keys()], async connections => {
      const startedMs = performance.now()
      const bytes = await Promise.all(
        connections.map(async ([node, connection]) => {
          const queue = queues.get(node) ?? []
          let received = 0
          while (queue.length > 0) {
            received += await connection.exchange(queue.splice(0, XRANGES_PER_PIPELINE).join(''))
          }
          return received
        })
      )
      return {
        seconds: (performance.now() - startedMs) / 1000,
        bytes: bytes.reduce((sum, received) => sum + received, 0)
      }
    })
  }
} satisfies RawRedisMethods)
