// The messages between the parent and its workers. Node delivers them in order, as JSON; a
// connection travels with its message as a handle.
import type { MetricObject, MetricObjectWithValues, MetricValue } from 'prom-client'

export type MetricsJson = Array<MetricObjectWithValues<MetricValue<string>> | MetricObject>

export type Fleet = { readonly running: number; readonly wanted: number }

export type ToWorker =
  /** The first message: where Redis is. Everything else is in the environment. */
  | { readonly kind: 'start'; readonly redisUrls: readonly string[] | undefined }
  /** Comes with a socket, unless its client has left in the meantime. */
  | { readonly kind: 'connection' }
  | { readonly kind: 'stop' }
  /** Asks for this worker's own metrics. */
  | { readonly kind: 'count'; readonly id: number }
  /** The answer to `sum`. */
  | { readonly kind: 'summed'; readonly id: number; readonly text: string }
  /** How many workers serve; sent whenever that changes. */
  | { readonly kind: 'fleet'; readonly fleet: Fleet }

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly message: string }
  /** The worker has received the connection and may be sent another one. */
  | { readonly kind: 'taken' }
  /** This many of its connections have been closed since the last such message. */
  | { readonly kind: 'closed'; readonly count: number }
  /** The worker was asked to end and wants no more connections. The answer is `stop`. */
  | { readonly kind: 'leaving' }
  /** The answer to `count`. Without an id it comes unasked: every few seconds, and at the end. */
  | { readonly kind: 'counted'; readonly id?: number; readonly metrics: MetricsJson }
  /** Asks for the metrics of all workers together. */
  | { readonly kind: 'sum'; readonly id: number }
