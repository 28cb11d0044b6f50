// The time from POST sent to frame received at a steady rate. The readers and the writers are in
// one process, so that one clock serves both. The loop is open: a message is sent when it is due,
// on a free connection or a new one, without waiting for an answer. Its time counts from the moment
// of sending; how late that was is reported as well.
import { setTimeout as sleep } from 'node:timers/promises'
import { build } from 'hdr-histogram-js'
import { Pool } from 'undici'
import { SseConnection } from '../../tests/drills/sse-connection.js'
import { serve } from '../program.js'
import { type StreamRequest } from '../targets/target.js'

export type LatencyLoad = {
  readonly url: string
  readonly rooms: ReadonlyArray<{ readonly name: string; readonly stream: StreamRequest }>
  /** Messages per second, to all rooms in turn. */
  readonly rate: number
  readonly warmUpSeconds: number
  readonly seconds: number
  readonly textBytes: number
}

export type Latencies = {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly sent: number
  /** Sent and not received. */
  readonly lost: number
  readonly failed: number
  /**
   * How late the most delayed message was sent: this process itself did not keep up by that much.
   */
  readonly lateMsMax: number
}

export type LatencyMethods = { run: (load: LatencyLoad) => Promise<Latencies> }

const MICROSECONDS = 1000
const CONNECTIONS_MAX = 1000
const READY_MS_MAX = 10_000
const LAST_MS_MAX = 3000
const POLL_MS = 10
const USER = 'bench-user'

async function run(load: LatencyLoad): Promise<Latencies> {
  const { url, rooms, rate, textBytes } = load
  const total = Math.round(rate * (load.warmUpSeconds + load.seconds))
  const warmUps = Math.round(rate * load.warmUpSeconds)
  const sentMs = new Float64Array(total)
  const histogram = build({ lowestDiscernibleValue: 1, numberOfSignificantValueDigits: 3 })
  let live = 0
  let received = 0
  let failed = 0
  let lateMsMax = 0
  const readers = rooms.map(
    ({ stream }) =>
      new SseConnection(
        new URL(stream.path, url),
        {},
        {
          onOpen: () => {
            if (stream.liveMark === undefined) live++
          },
          onFrame: frame => {
            const index = indexOf(frame)
            if (index === undefined) {
              live += stream.liveMark !== undefined && frame.includes(stream.liveMark) ? 1 : 0
            } else if (index >= warmUps) {
              received++
              histogram.recordValue(
                Math.round((performance.now() - (sentMs[index] ?? 0)) * MICROSECONDS)
              )
            }
          },
          onEnd: () => {
            failed++
          }
        }
      )
  )
  const pool = new Pool(url, { connections: CONNECTIONS_MAX, pipelining: 1 })
  try {
    await until(() => live === rooms.length, READY_MS_MAX, 'the readers are live')
    const filler = 'x'.repeat(textBytes)
    const send = async (index: number): Promise<void> => {
      // The rooms are not empty.
      const { name } = rooms[index % rooms.length] as { name: string }
      const body = JSON.stringify({ user: USER, text: `#${index} ${filler}`.slice(0, textBytes) })
      sentMs[index] = performance.now()
      const answer = await pool.request({
        method: 'POST',
        path: `/rooms/${name}/messages`,
        headers: { 'content-type': 'application/json' },
        body
      })
      await answer.body.dump()
      if (answer.statusCode >= 300) failed++
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
    const expected = total - warmUps
    await until(() => received >= expected, LAST_MS_MAX).catch(() => undefined)
    const atMs = (percentile: number): number =>
      histogram.getValueAtPercentile(percentile) / MICROSECONDS
    return {
      p50Ms: atMs(50),
      p99Ms: atMs(99),
      maxMs: histogram.maxValue / MICROSECONDS,
      sent: expected,
      lost: expected - received,
      failed,
      lateMsMax
    }
  } finally {
    for (const reader of readers) reader.cut()
    await pool.destroy()
  }
}

/** The number that a text begins with, `#12 `; undefined for frames that are no messages. */
function indexOf(frame: Buffer): number | undefined {
  const mark = frame.indexOf('"#')
  return mark < 0 ? undefined : Number.parseInt(frame.toString('latin1', mark + 2, mark + 12), 10)
}

async function until(holds: () => boolean, deadlineMs: number, what = ''): Promise<void> {
  const deadline = performance.now() + deadlineMs
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`Not within ${deadlineMs} ms: ${what}`)
    await sleep(POLL_MS)
  }
}

serve({ run } satisfies LatencyMethods)
