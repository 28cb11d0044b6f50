// POSTs per second: one hot room and user, and a hundred rooms of fifty users. Compared in each
// round with bare Fastify (the limit of the HTTP layer), Nchan on the same Redis Cluster, and plain
// XADD in pipelines (the limit of the store).
import { costPerMessage, costTable, spending, type StoreCost } from '../cost.js'
import { newRoom } from '../names.js'
import { type Bench, type Part } from '../part.js'
import { Program } from '../program.js'
import type { HttpLoad, HttpLoadMethods } from '../programs/http-load.js'
import type { RawRedisMethods } from '../programs/raw-redis.js'
import { type RedisNodes } from '../redis-nodes.js'
import {
  atLeast,
  atMost,
  missingRow,
  ratios,
  row,
  type Goal,
  type Row,
  type Table
} from '../table.js'
import { type Dialogs } from '../targets/dialogs.js'
import { startBareFastify } from '../targets/server.js'
import { isMissing, type Missing, type Target } from '../targets/target.js'
import { between, cpuSeconds } from '../usage.js'

type Shape = {
  readonly title: string
  readonly rooms?: number
  readonly users?: number
  readonly ofFastify: Goal
  readonly ofNchan?: Goal
  /** Processor time over bare Fastify's. */
  readonly cpu: Goal
}

/** One measurement of one target. */
type Posted = {
  readonly messages: number
  readonly rate: number
  readonly cpuUs: number | undefined
  readonly loaderCpu: number
  readonly failed: number
}

const CONNECTIONS = 64
const TEXT_BYTES = 100
const WARM_UP_SECONDS = 1
const XADD = 'plain XADD'

const SHAPES: readonly Shape[] = [
  {
    title: 'one hot room and user',
    ofFastify: atLeast(0.6),
    ofNchan: atLeast(1.35),
    cpu: atMost(1.45)
  },
  {
    title: '100 rooms × 50 users',
    rooms: 100,
    users: 50,
    ofFastify: atLeast(0.48),
    cpu: atMost(2)
  }
]

export const post: Part = {
  name: 'post',
  about: 'POSTs a second, beside bare Fastify, Nchan and plain XADD',
  rounds: 5,
  seconds: 6,
  run: async bench => {
    const dialogs = await bench.dialogs()
    const bare = await bench.keep(startBareFastify())
    const nchan = await bench.nchan(dialogs)
    const load = await bench.keep(new Program<HttpLoadMethods>('http-load'))
    const raw = await bench.keep(new Program<RawRedisMethods>('raw-redis'))

    const targets = [dialogs, bare, ...(isMissing(nchan) ? [] : [nchan])]
    const stores: StoreCost[] = []
    const posting = SHAPES.flatMap(shape =>
      targets.map(target => ({
        name: caseName(shape, target),
        measure: async () => {
          if (target !== dialogs) return await measure(bench, load, target, shape)
          const { store, ...posted } = await spending(dialogs.redis, () =>
            measure(bench, load, target, shape)
          )
          // For both workloads: they differ in how many messages share a group.
          stores.push(store)
          return posted
        }
      }))
    )
    const posted = await bench.interleave<Posted>([
      ...posting,
      { name: XADD, measure: () => xadd(bench, raw, dialogs.redis) }
    ])

    const { masters, replicas } = costPerMessage(stores)
    const samples = (shape: Shape, target: Target): readonly Posted[] =>
      posted.get(caseName(shape, target)) ?? []
    const cpuUs = SHAPES.flatMap(shape => samples(shape, dialogs)).flatMap(
      ({ cpuUs }) => cpuUs ?? []
    )
    return {
      tables: [
        ...SHAPES.map(shape => tableOf(shape, samples, { dialogs, bare, nchan })),
        {
          title: 'limit of the store',
          rows: [
            row(
              'plain XADD in pipelines of 256, each with a WAIT for one replica, all masters',
              '/s',
              (posted.get(XADD) ?? []).map(({ rate }) => rate)
            )
          ]
        },
        costTable('what a message costs the store, both shapes', stores)
      ],
      costs: {
        masterCommandsPerMessage: masters.calls,
        masterBytesInPerMessage: masters.bytesIn,
        masterBytesOutPerMessage: masters.bytesOut,
        masterCpuUsPerMessage: masters.cpuUs,
        replicaCpuUsPerMessage: replicas.cpuUs,
        ...(cpuUs.length === 0
          ? {}
          : { processCpuUsPerPost: cpuUs.reduce((sum, value) => sum + value, 0) / cpuUs.length })
      }
    }
  }
}

const caseName = ({ title }: Shape, { name }: Target): string => `${name}, ${title}`

async function measure(
  bench: Bench,
  load: Program<HttpLoadMethods>,
  target: Target,
  { rooms, users }: Shape
): Promise<Posted> {
  const { seconds } = bench.scale
  // Each measurement uses a room of its own, so that the log does not grow from one to the next.
  const posts = {
    room: newRoom(),
    textBytes: TEXT_BYTES,
    ...(rooms === undefined ? {} : { rooms }),
    ...(users === undefined ? {} : { users })
  }
  const options: HttpLoad = { url: target.url, connections: CONNECTIONS, posts, seconds }
  const warmedUp = await load.call('run', { ...options, seconds: bench.size(WARM_UP_SECONDS, 0.1) })
  const before = cpuSeconds(target.pid)
  const loaded = await load.call('run', options)
  const used = between(before, cpuSeconds(target.pid))
  return {
    messages: warmedUp.answered + loaded.answered,
    rate: loaded.answered / loaded.seconds,
    cpuUs: used === undefined ? undefined : (used / loaded.answered) * 1e6,
    loaderCpu: (loaded.cpuSeconds / loaded.seconds) * 100,
    failed: loaded.failed
  }
}

async function xadd(
  bench: Bench,
  raw: Program<RawRedisMethods>,
  redis: RedisNodes
): Promise<Posted> {
  const keys = redis.masters.map(node => [node, keyAt(redis, node)] as const)
  const rate = await raw.call('xadd', { keys, seconds: bench.scale.seconds, textBytes: TEXT_BYTES })
  return { messages: 0, rate, cpuUs: undefined, loaderCpu: Number.NaN, failed: 0 }
}

function keyAt(redis: RedisNodes, node: string): string {
  for (;;) {
    const key = newRoom()
    if (redis.ownerOf(key) === node) return key
  }
}

function tableOf(
  shape: Shape,
  samples: (shape: Shape, target: Target) => readonly Posted[],
  { dialogs, bare, nchan }: { dialogs: Dialogs; bare: Target; nchan: Target | Missing }
): Table {
  const rates = (target: Target): number[] => samples(shape, target).map(({ rate }) => rate)
  const cpu = (target: Target): number[] =>
    samples(shape, target).map(({ cpuUs }) => cpuUs ?? Number.NaN)
  const loaders = (target: Target): Row =>
    row(
      `autocannon's own use of a processor, with ${target.name}`,
      '%',
      samples(shape, target).map(({ loaderCpu }) => loaderCpu)
    )
  const failed = samples(shape, dialogs).reduce((sum, { failed }) => sum + failed, 0)
  return {
    title: shape.title,
    rows: [
      row('Dialogs', '/s', rates(dialogs)),
      row('bare Fastify', '/s', rates(bare)),
      isMissing(nchan)
        ? missingRow(nchan.name, '/s', nchan.why)
        : row(nchan.name, '/s', rates(nchan)),
      row('Dialogs over bare Fastify', '×', ratios(rates(dialogs), rates(bare)), shape.ofFastify),
      isMissing(nchan)
        ? missingRow(`Dialogs over ${nchan.name}`, '×', nchan.why, shape.ofNchan)
        : row(
            `Dialogs over ${nchan.name}`,
            '×',
            ratios(rates(dialogs), rates(nchan)),
            shape.ofNchan
          ),
      row("processor time of the service's process for a POST", 'µs', cpu(dialogs)),
      row("processor time of bare Fastify's process for a POST", 'µs', cpu(bare)),
      row(
        'Dialogs over bare Fastify, processor time',
        '×',
        ratios(cpu(dialogs), cpu(bare)),
        shape.cpu
      ),
      loaders(dialogs),
      loaders(bare)
    ],
    notes: [
      `${CONNECTIONS} connections, kept alive; texts of ${TEXT_BYTES} bytes; ${failed} POSTs to Dialogs failed.`,
      'Nchan does not wait for a replica and keeps 1,000 messages of a room; its nginx has a worker for each processor, the service is one process.'
    ]
  }
}
