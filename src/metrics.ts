// The metrics of this process, for Prometheus (https://prometheus.io/docs/practices/naming/). All
// names and labels are defined here. Counters are updated by the parts; gauges are read when the
// metrics are asked for.
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

export type Gauges = Readonly<
  Record<
    | 'streams'
    | 'rooms'
    | 'queue'
    | 'ringBytes'
    | 'pagesWaiting'
    | 'subscriberConnections'
    | 'degradedShards'
    | 'cutOffNodes',
    () => number
  >
>

const NEW_POSTS_MAX = 1000

/**
 * How often the lag of the event loop is measured. Each time wakes the process up: every 10 ms, the
 * library's default, was a third of what an idle process costs. `nodejs_eventloop_lag_seconds` is
 * measured by itself; the minimum, mean and percentiles include this interval.
 */
const LAG_RESOLUTION_MS = 50

export class Metrics {
  readonly registry = new Registry()
  readonly #postSeconds: Histogram
  // Posts not yet passed on to the library: counting each one separately there cost 3 µs.
  readonly #newPosts = new Map<number, number>()
  readonly #newPostSeconds: number[] = []
  readonly streamsEnded: Counter<'reason'>
  readonly putOff: Counter<'code'>
  readonly retries: Counter<'why'>
  readonly subscriptionsLost: Counter<'why'>
  readonly limits: Counter<'limit'>
  readonly gaps: Counter
  readonly resets: Counter<'reason'>
  readonly doubts: Counter<'of'>
  readonly faults: Counter<'what'>

  constructor() {
    const registers = [this.registry]
    collectDefaultMetrics({
      register: this.registry,
      eventLoopMonitoringPrecision: LAG_RESOLUTION_MS
    })
    const posts: Counter<'code'> = new Counter({
      name: 'dialogs_posts_total',
      help: 'POSTed messages, by the status of the answer',
      labelNames: ['code'],
      registers,
      collect: () => {
        for (const [code, count] of this.#newPosts) posts.inc({ code }, count)
        this.#newPosts.clear()
      }
    })
    this.#postSeconds = new Histogram({
      name: 'dialogs_post_seconds',
      help: 'time from a POST to its answer',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
      collect: () => {
        this.#observePosts()
      }
    })
    this.streamsEnded = new Counter({
      name: 'dialogs_streams_ended_total',
      help: 'streams that ended, by reason',
      labelNames: ['reason'],
      registers
    })
    this.putOff = new Counter({
      name: 'dialogs_streams_put_off_total',
      help: 'streams that were told to come back later, by reason',
      labelNames: ['code'],
      registers
    })
    this.retries = new Counter({
      name: 'dialogs_redis_retries_total',
      help: 'commands that Redis Cluster redirected or deferred',
      labelNames: ['why'],
      registers
    })
    this.subscriptionsLost = new Counter({
      name: 'dialogs_subscriptions_lost_total',
      help: 'channels or connections of the subscriber that were lost and restored',
      labelNames: ['why'],
      registers
    })
    this.limits = new Counter({
      name: 'dialogs_limits_total',
      help: 'times that a limit was reached',
      labelNames: ['limit'],
      registers
    })
    this.gaps = new Counter({
      name: 'dialogs_gaps_total',
      help: 'gaps in publications that were read from the store',
      registers
    })
    this.resets = new Counter({
      name: 'dialogs_resets_total',
      help: 'resets of a room, after which its readers start over',
      labelNames: ['reason'],
      registers
    })
    this.doubts = new Counter({
      name: 'dialogs_doubts_total',
      help: 'times that publications may have been lost, for some channels or all; they are then compared with the store',
      labelNames: ['of'],
      registers
    })
    this.faults = new Counter({
      name: 'dialogs_faults_total',
      help: 'background work that failed and will be repaired later',
      labelNames: ['what'],
      registers
    })
  }

  countPost(code: number, seconds: number): void {
    this.#newPosts.set(code, (this.#newPosts.get(code) ?? 0) + 1)
    if (this.#newPostSeconds.push(seconds) === NEW_POSTS_MAX) this.#observePosts()
  }

  #observePosts(): void {
    for (const seconds of this.#newPostSeconds.splice(0)) this.#postSeconds.observe(seconds)
  }

  /**
   * Registers figures that the parts keep themselves; they are read when the metrics are asked for.
   */
  watch(gauges: Gauges, storeReads: () => number): void {
    const names: ReadonlyArray<readonly [keyof Gauges, string, string]> = [
      ['streams', 'dialogs_streams', 'open streams'],
      ['rooms', 'dialogs_rooms', 'subscribed rooms'],
      ['queue', 'dialogs_queue_length', 'messages waiting for the store'],
      ['ringBytes', 'dialogs_ring_bytes', 'bytes of recent frames in memory'],
      ['pagesWaiting', 'dialogs_pages_waiting', 'pages waiting for their turn to be read'],
      [
        'subscriberConnections',
        'dialogs_subscriber_connections',
        'pub/sub connections, at most one per shard'
      ],
      ['degradedShards', 'dialogs_degraded_shards', 'shards that accept writes without a replica'],
      [
        'cutOffNodes',
        'dialogs_cut_off_nodes',
        'masters that this process does not reach and the others do'
      ]
    ]
    for (const [key, name, help] of names) {
      // All workers see the same shards, so their numbers must not be added up.
      const aggregator = key === 'degradedShards' ? 'max' : 'sum'
      const gauge: Gauge = new Gauge({
        name,
        help,
        aggregator,
        registers: [this.registry],
        collect: () => {
          gauge.set(gauges[key]())
        }
      })
    }
    const reads: Counter = new Counter({
      name: 'dialogs_store_reads_total',
      help: 'pages and messages that were read from the store, shared reads counted once',
      registers: [this.registry],
      collect: () => {
        reads.reset()
        reads.inc(storeReads())
      }
    })
  }
}
