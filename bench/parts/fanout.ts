// Deliveries per second: one room, very many readers, writers at full speed. Compared with Nchan
// and with Socket.IO's Redis streams adapter on the same Redis Cluster, with as many readers and
// the same messages. Every acknowledged message must arrive at every reader: messages that are
// missing after the load are counted.
import { setTimeout as sleep } from 'node:timers/promises'
import { costPerMessage, costTable, spending, type StoreCost } from '../cost.js'
import { newRoom } from '../names.js'
import { type Bench, type Part } from '../part.js'
import { Program } from '../program.js'
import type { HttpLoadMethods } from '../programs/http-load.js'
import type { ReadersMethods } from '../programs/readers.js'
import { atLeast, missingRow, ratios, row, type Row } from '../table.js'
import { startSocketIo } from '../targets/server.js'
import { isMissing, type Missing, type Target } from '../targets/target.js'
import { between, cpuSeconds } from '../usage.js'

type Fanned = {
  readonly messages: number
  readonly deliveries: number
  /** Deliveries and messages per second under load. */
  readonly rate: number
  readonly postRate: number
  readonly bytesPerDelivery: number
  readonly cpuUsPerDelivery: number | undefined
  readonly readersCpu: number
  /** Missing deliveries of acknowledged messages, in % of all. */
  readonly missing: number
}

const WRITERS = 64
const TEXT_BYTES = 100
const WARM_UP_SECONDS = 1
const LIVE_MS_MAX = 30_000
const QUIET_MS = 500
const QUIET_MS_MAX = 20_000
const RATIO = atLeast(6)

export const fanout: Part = {
  name: 'fanout',
  about: 'deliveries a second to the readers of one room, beside Nchan and Socket.IO',
  rounds: 5,
  seconds: 6,
  run: async bench => {
    const readerCount = bench.size(1000, 20)
    const dialogs = await bench.dialogs()
    const socketIo = await bench.keep(startSocketIo(dialogs.redisUrls))
    const nchan = await bench.nchan(dialogs)
    const load = await bench.keep(new Program<HttpLoadMethods>('http-load'))
    const readers = await bench.keep(new Program<ReadersMethods>('readers'))

    const stores: StoreCost[] = []
    const fanned = await bench.interleave<Fanned>(
      [dialogs, socketIo, ...(isMissing(nchan) ? [] : [nchan])].map(target => ({
        name: target.name,
        measure: async () => {
          const { store, ...fanned } = await spending(dialogs.redis, () =>
            measure(bench, load, readers, target, readerCount)
          )
          if (target === dialogs) stores.push(store)
          return fanned
        }
      }))
    )

    const samples = (target: Target, figure: (fanned: Fanned) => number | undefined): number[] =>
      (fanned.get(target.name) ?? []).map(fanned => figure(fanned) ?? Number.NaN)
    const rates = (target: Target): number[] => samples(target, ({ rate }) => rate)
    const rowsOf = (target: Target): Row[] => [
      row(`${target.name}: deliveries`, '/s', rates(target)),
      row(
        `${target.name}: messages`,
        '/s',
        samples(target, ({ postRate }) => postRate)
      ),
      row(
        `${target.name}: bytes a delivery`,
        'B',
        samples(target, ({ bytesPerDelivery }) => bytesPerDelivery)
      ),
      row(
        `${target.name}: acknowledged and not delivered`,
        '%',
        samples(target, ({ missing }) => missing)
      ),
      row(
        `${target.name}: the readers' own use of a processor`,
        '%',
        samples(target, ({ readersCpu }) => readersCpu)
      )
    ]
    const peers: ReadonlyArray<Target | Missing> = [nchan, socketIo]
    const cpuUs = samples(dialogs, ({ cpuUsPerDelivery }) => cpuUsPerDelivery)
    const { masters } = costPerMessage(stores)
    return {
      tables: [
        {
          title: `one room, ${readerCount} readers`,
          rows: [
            ...rowsOf(dialogs),
            ...peers.flatMap(peer =>
              isMissing(peer)
                ? [missingRow(`${peer.name}: deliveries`, '/s', peer.why)]
                : rowsOf(peer)
            ),
            ...peers.map(peer =>
              isMissing(peer)
                ? missingRow(`Dialogs over ${peer.name}`, '×', peer.why, RATIO)
                : row(`Dialogs over ${peer.name}`, '×', ratios(rates(dialogs), rates(peer)), RATIO)
            ),
            row(
              "processor time of the service's process for a delivery, its share of the POST too",
              'µs',
              cpuUs
            )
          ],
          notes: [
            `${WRITERS} writers, each sends when its last POST is answered; texts of ${TEXT_BYTES} bytes; all readers in one process.`
          ]
        },
        costTable('what a message costs the store, with one process that reads it', stores, [
          row('commands on the masters for a delivery', '', [masters.calls / readerCount])
        ])
      ],
      costs: {
        readers: readerCount,
        masterBytesOutPerMessageWithReader: masters.bytesOut,
        masterCpuUsPerMessageWithReader: masters.cpuUs,
        bytesPerDelivery: meanOf(samples(dialogs, ({ bytesPerDelivery }) => bytesPerDelivery)),
        processCpuUsPerDelivery: meanOf(cpuUs)
      }
    }
  }
}

async function measure(
  bench: Bench,
  load: Program<HttpLoadMethods>,
  readers: Program<ReadersMethods>,
  target: Target,
  readerCount: number
): Promise<Fanned> {
  const { seconds } = bench.scale
  const room = newRoom()
  const warmUpSeconds = bench.size(WARM_UP_SECONDS, 0.2)
  await readers.call('open', {
    url: target.url,
    streams: [target.stream(room)],
    count: readerCount,
    frameBytesMin: TEXT_BYTES,
    deadlineMs: LIVE_MS_MAX
  })
  try {
    const loading = load.call('run', {
      url: target.url,
      connections: WRITERS,
      posts: { room, textBytes: TEXT_BYTES }
    })
    // Awaited below. Without this, a failure before then would be an unhandled rejection.
    loading.catch(() => undefined)
    await readers.call('first', { deadlineMs: LIVE_MS_MAX })
    await sleep(1000 * warmUpSeconds)
    const cpuBefore = cpuSeconds(target.pid)
    const before = await readers.call('count', null)
    await sleep(1000 * seconds)
    const after = await readers.call('count', null)
    const cpu = between(cpuBefore, cpuSeconds(target.pid))
    await load.call('stop', null)
    const loaded = await loading
    const final = await readers.call('countWhenQuiet', {
      quietMs: QUIET_MS,
      deadlineMs: QUIET_MS_MAX
    })
    const delivered = after.messages - before.messages
    const elapsedSeconds = (after.atMs - before.atMs) / 1000
    return {
      messages: loaded.answered,
      deliveries: final.messages,
      rate: delivered / elapsedSeconds,
      postRate: loaded.answered / loaded.seconds,
      bytesPerDelivery: (after.bytes - before.bytes) / delivered,
      cpuUsPerDelivery: cpu === undefined ? undefined : (cpu / delivered) * 1e6,
      readersCpu: ((after.cpuSeconds - before.cpuSeconds) / elapsedSeconds) * 100,
      // POSTs in flight at the end of the load may be delivered without being acknowledged, so the
      // difference may be negative.
      missing: Math.max(0, 1 - final.messages / (loaded.answered * readerCount)) * 100
    }
  } finally {
    await readers.call('close', null)
  }
}

const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length
