// Computes what a cluster of N shards and M processes can carry, from what one message and one
// delivery cost on this machine. Assumes enough users and rooms to spread evenly, a processor for
// each process and each Redis node, and costs that do not change with their number. The last
// assumption is optimistic: with many shards, a group's commands are spread over more and smaller
// packets.
import { type Costs } from './part.js'
import { row, type Table } from './table.js'

type Size = { readonly shards: number; readonly processes: number }

const SIZES: readonly Size[] = [
  { shards: 1, processes: 1 },
  { shards: 3, processes: 1 },
  { shards: 3, processes: 3 },
  { shards: 6, processes: 12 },
  { shards: 24, processes: 48 },
  { shards: 100, processes: 200 }
]
/** The share of a processor that may be used, so that queues stay short. */
const LOAD_MAX = 0.7
const MICROSECONDS = 1e6
const MEGABYTE = 1e6

/** Undefined while a figure that the model needs has not been measured. */
export function carries(costs: Costs): Table[] | undefined {
  const {
    processCpuUsPerPost: post,
    processCpuUsPerDelivery: delivery,
    masterCpuUsPerMessage: master,
    replicaCpuUsPerMessage: replica,
    bytesPerDelivery,
    masterBytesInPerMessage: bytesIn,
    masterBytesOutPerMessageWithReader: bytesOut
  } = costs
  if (
    post === undefined ||
    delivery === undefined ||
    master === undefined ||
    replica === undefined ||
    bytesPerDelivery === undefined ||
    bytesIn === undefined ||
    bytesOut === undefined
  ) {
    return undefined
  }
  const perSecond = (microseconds: number): number => (LOAD_MAX * MICROSECONDS) / microseconds
  const perProcess = perSecond(post)
  const perShard = perSecond(Math.max(master, replica))
  const deliveries = perSecond(delivery)
  return [
    {
      title: `at ${LOAD_MAX * 100} % of a processor each`,
      rows: [
        row('messages that one process takes', '/s', [perProcess]),
        row('messages that one shard stores', '/s', [perShard]),
        row('deliveries of one process', '/s', [deliveries]),
        row('network of one process at that: deliveries', 'MB/s', [
          (deliveries * bytesPerDelivery) / MEGABYTE
        ]),
        row('network of one shard at that: in and out', 'MB/s', [
          (perShard * (bytesIn + bytesOut)) / MEGABYTE
        ])
      ]
    },
    {
      title: 'messages a second, and what is full first',
      rows: SIZES.map(({ shards, processes }) => {
        const [byShards, byProcesses] = [shards * perShard, processes * perProcess]
        const full = byShards < byProcesses ? 'the shards' : 'the processes'
        return row(`${shards} shards, ${processes} processes: ${full}`, '/s', [
          Math.min(byShards, byProcesses)
        ])
      }),
      notes: [
        'One room is one log, and a log is on one shard: a single room takes at most about what one shard stores, however many there are.'
      ]
    }
  ]
}
