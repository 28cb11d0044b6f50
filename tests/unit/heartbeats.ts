// When silent streams get their heartbeats, measured on streams that only record when they were
// written to.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Heartbeats, PING } from '../../src/live/heartbeats.js'

const INTERVAL_MS = 400
/** The share of the interval by which a heartbeat may come early. */
const EARLY = 0.03
const LATE_MS = 60

class NotedStream {
  writtenAt = performance.now()
  isFull = false
  readonly pings: number[] = []

  write(bytes: Buffer | string): void {
    this.writtenAt = performance.now()
    if (bytes === PING) this.pings.push(this.writtenAt)
  }
}

const gaps = (from: number, times: readonly number[]): number[] =>
  times.map((at, index) => at - (times[index - 1] ?? from))

t.test('a silent stream gets a heartbeat after exactly each interval', async t => {
  const heartbeats = new Heartbeats(INTERVAL_MS)
  t.teardown(() => {
    heartbeats.close()
  })
  const streams: NotedStream[] = []
  for (let n = 0; n < 100; n++) {
    const stream = new NotedStream()
    streams.push(stream)
    heartbeats.add(stream)
    await sleep(3)
  }
  await sleep(4 * INTERVAL_MS)
  for (const { pings } of streams) {
    t.ok(pings.length >= 3)
    for (const gap of gaps(pings[0] ?? 0, pings).slice(1)) {
      t.ok(gap > INTERVAL_MS * (1 - EARLY) - 2 && gap < INTERVAL_MS + LATE_MS, `${gap} ms`)
    }
  }
})

t.test(
  'a stream gets no heartbeat while it is written to, and the first one an interval after the last write',
  async t => {
    const heartbeats = new Heartbeats(INTERVAL_MS)
    t.teardown(() => {
      heartbeats.close()
    })
    const stream = new NotedStream()
    heartbeats.add(stream)
    for (let n = 0; n < 15; n++) {
      await sleep(INTERVAL_MS / 5)
      stream.write('a message')
    }
    const { writtenAt } = stream
    t.equal(stream.pings.length, 0)
    await sleep(1.5 * INTERVAL_MS)
    t.equal(stream.pings.length, 1)
    const [gap = 0] = gaps(writtenAt, stream.pings)
    t.ok(gap > INTERVAL_MS * (1 - EARLY) - 2 && gap < INTERVAL_MS + LATE_MS, `${gap} ms`)
  }
)

t.test(
  '15,000 streams that fall silent at once all get their heartbeat in time, a few in each turn',
  async t => {
    const interval = 3000
    const heartbeats = new Heartbeats(interval)
    t.teardown(() => {
      heartbeats.close()
    })
    let inTurn = 0
    let mostInTurn = 0
    class CountedStream extends NotedStream {
      override write(bytes: Buffer | string): void {
        super.write(bytes)
        if (inTurn++ === 0) {
          setImmediate(() => {
            inTurn = 0
          })
        }
        mostInTurn = Math.max(mostInTurn, inTurn)
      }
    }
    const streams = Array.from({ length: 15_000 }, () => new CountedStream())
    for (const stream of streams) heartbeats.add(stream)
    const silentSince = performance.now()
    for (const stream of streams) stream.writtenAt = silentSince
    // Under load a timer may fire late; that is the machine's fault.
    const delay = monitorEventLoopDelay({ resolution: 10 })
    delay.enable()
    await sleep(1.5 * interval)
    delay.disable()
    const lagMs = delay.max / 1e6
    const latest = Math.max(...streams.map(({ pings }) => (pings[0] ?? Infinity) - silentSince))
    t.ok(
      latest < interval + LATE_MS + 2 * lagMs,
      `the latest after ${latest} ms; the machine's own lag was ${lagMs} ms`
    )
    t.ok(streams.every(({ pings }) => pings.length === 1))
    t.ok(mostInTurn <= 256, `${mostInTurn} in one turn`)
  }
)

t.test('a stream that is full or has ended gets no heartbeat', async t => {
  const heartbeats = new Heartbeats(INTERVAL_MS)
  t.teardown(() => {
    heartbeats.close()
  })
  const [full, ended] = [new NotedStream(), new NotedStream()]
  full.isFull = true
  for (const stream of [full, ended]) heartbeats.add(stream)
  heartbeats.remove(ended)
  await sleep(2.5 * INTERVAL_MS)
  t.strictSame([full.pings, ended.pings], [[], []])
  full.isFull = false
  full.writtenAt = performance.now()
  await sleep(1.5 * INTERVAL_MS)
  t.equal(full.pings.length, 1)
})
