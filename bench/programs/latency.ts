// The time from POST sent to frame received at a steady rate. The readers and the writers are in
// one process, so one clock serves both. The loop is open: a message is sent when it is due, on a
// free connection or a new one, without waiting for an answer. Its time counts from the moment of
// sending; how late that was is reported as well.
import { setTimeout as sleep } from 'node:timers/promises'
import { build } from 'hdr-histogram-js'
import pLimit from 'p-limit'
import { Pool } from 'undici'
import { SseConnection } from '../../tests/drills/sse-connection.js'
import { until } from '../../tests/support/until.js'
import { serve } from '../program.js'
import { type StreamRequest } from '../targets/target.js'

export type LatencyRoom = {
  readonly name: string
  /** The room's readers, each at a server. */
  readonly readers: ReadonlyArray<{ readonly url: string; readonly stream: StreamRequest }>
  /** The people who write there in turn, each through a server. */
  readonly writers: ReadonlyArray<{ readonly url: string; readonly user: string }>
}

export type LatencyLoad = {
  /** Messages per second, to all rooms in turn. */
  readonly rate: number
  readonly warmUpSeconds: number
  readonly seconds: number
  readonly textBytes: number
}

export type Latencies = {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
  /** Messages, including those of the warm-up. */
  readonly posted: number
  /** Frames that should be received. */
  readonly sent: number
  /** Frames that were sent and not received. */
  readonly lost: number
  readonly failed: number
  /** How late the latest message was sent, because this process itself did not keep up. */
  readonly lateMsMax: number
}

export type LatencyMethods = {
  /** Opens all readers. Resolves when they are live. */
  open: (rooms: readonly LatencyRoom[]) => Promise<null>
  load: (load: LatencyLoad) => Promise<Latencies>
  close: (argument: null) => Promise<null>
}

const MICROSECONDS = 1000
const CONNECTIONS_MAX = 1000
/** Readers that are opened at once. */
const OPENING_MAX = 500
const READY_MS_MAX = 180_000
const LAST_MS_MAX = 3000

let rooms: readonly LatencyRoom[] = []
let readers: SseConnection[] = []
const pools = new Map<string, Pool>()
let failed = 0
/** Messages are numbered over all loads, so that a late one is not mistaken for another. */
let numbered = 0
let onMessage: (index: number) => void = () => undefined

async function open(request: readonly LatencyRoom[]): Promise<null> {
  rooms = request
  const limit = pLimit(OPENING_MAX)
  const opening = request.flatMap(({ readers: ofRoom }) =>
    ofRoom.map(({ url, stream }) =>
      limit(async () => {
        await new Promise<void>(resolve => {
          readers.push(openReader(url, stream, resolve))
        })
      })
    )
  )
  for (const { writers } of request) {
    for (const { url } of writers) {
      if (!pools.has(url)) {
        pools.set(url, new Pool(url, { connections: CONNECTIONS_MAX, pipelining: 1 }))
      }
    }
  }
  let isLive = false
  void Promise.all(opening).then(() => {
    isLive = true
  })
  await until('the readers are live', () => isLive, READY_MS_MAX)
  return null
}

function openReader(url: string, stream: StreamRequest, onLive: () => void): SseConnection {
  return new SseConnection(
    new URL(stream.path, url),
    {},
    {
      onOpen: () => {
        if (stream.liveMark === undefined) onLive()
      },
      onFrame: frame => {
        const index = indexOf(frame)
        if (index !== undefined) onMessage(index)
        else if (stream.liveMark !== undefined && frame.includes(stream.liveMark)) onLive()
      },
      onEnd: () => {
        failed++
      }
    }
  )
}

async function load({ rate, warmUpSeconds, seconds, textBytes }: LatencyLoad): Promise<Latencies> {
  const total = Math.round(rate * (warmUpSeconds + seconds))
  const warmUps = Math.round(rate * warmUpSeconds)
  const base = numbered
  numbered += total
  const sentMs = new Float64Array(total)
  const histogram = build({ lowestDiscernibleValue: 1, numberOfSignificantValueDigits: 3 })
  let received = 0
  let expected = 0
  let lateMsMax = 0
  failed = 0
  onMessage = number => {
    const index = number - base
    if (index < warmUps) return
    received++
    histogram.recordValue(Math.round((performance.now() - (sentMs[index] ?? 0)) * MICROSECONDS))
  }
  const filler = 'x'.repeat(textBytes)
  const send = async (index: number): Promise<void> => {
    // There are rooms, and each has a writer.
    const room = rooms[index % rooms.length] as LatencyRoom
    const turn = Math.floor(index / rooms.length)
    const { url, user } = room.writers[turn % room.writers.length] as LatencyRoom['writers'][number]
    if (index >= warmUps) expected += room.readers.length
    const text = `#${base + index} ${filler}`.slice(0, textBytes)
    sentMs[index] = performance.now()
    const answer = await pools.get(url)?.request({
      method: 'POST',
      path: `/rooms/${room.name}/messages`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ user, text })
    })
    await answer?.body.dump()
    if ((answer?.statusCode ?? 500) >= 300) failed++
  }
  const startedMs = performance.now()
  for (let index = 0; index < total;) {
    const due = Math.min(total, Math.floor(((performance.now() - startedMs) * rate) / 1000) + 1)
    if (index < due && index >= warmUps) {
      lateMsMax = Math.max(lateMsMax, performance.now() - startedMs - (index * 1000) / rate)
    }
    for (; index < due; index++) {
      send(index).catch(() => {
        failed++
      })
    }
    await sleep(1)
  }
  await until('all is received', () => received >= expected, LAST_MS_MAX).catch(() => undefined)
  const atMs = (percentile: number): number =>
    histogram.getValueAtPercentile(percentile) / MICROSECONDS
  return {
    p50Ms: atMs(50),
    p99Ms: atMs(99),
    p999Ms: atMs(99.9),
    maxMs: histogram.maxValue / MICROSECONDS,
    posted: total,
    sent: expected,
    lost: expected - received,
    failed,
    lateMsMax
  }
}

async function close(): Promise<null> {
  for (const reader of readers) reader.cut()
  readers = []
  await Promise.all([...pools.values()].map(pool => pool.destroy()))
  pools.clear()
  return null
}

/** The number at the start of a text, `#12 `; undefined for frames that are not messages. */
function indexOf(frame: Buffer): number | undefined {
  const mark = frame.indexOf('"#')
  return mark < 0 ? undefined : Number.parseInt(frame.toString('latin1', mark + 2, mark + 12), 10)
}

serve({ open, load, close } satisfies LatencyMethods)
