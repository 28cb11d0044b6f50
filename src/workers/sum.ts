// Adds up the metrics of several processes. Counters, histograms and gauges are summed (or combined
// as a gauge's `aggregator` says). Metrics that describe one process, such as its memory, stay
// separate, with the label `worker`. Invariant: a counter never falls. Prometheus would take that
// for a restart of the service and count the whole rest once more, so the counts of workers that
// have ended or do not answer stay in the sum.
import { AggregatorRegistry } from 'prom-client'
import { type MetricsJson } from './messages.js'

export const OF_ONE_PROCESS = /^(process|nodejs)_/
const COUNTS = ['counter', 'histogram']

export class Sum {
  readonly #latest = new Map<number, MetricsJson>()
  #ended = Promise.resolve<MetricsJson>([])

  /** The latest metrics of a worker. Until its next report, they also stand for it in the sum. */
  report(worker: number, metrics: MetricsJson): void {
    this.#latest.set(worker, metrics)
  }

  /** A worker has ended: what it had counted stays, but not its gauges. */
  end(worker: number): void {
    const counts = (this.#latest.get(worker) ?? []).filter(
      ({ name, type }) => COUNTS.includes(String(type)) && !OF_ONE_PROCESS.test(name)
    )
    this.#latest.delete(worker)
    this.#ended = this.#ended.then(
      async ended => await AggregatorRegistry.aggregate([ended, counts]).getMetricsAsJSON()
    )
  }

  /** In Prometheus' text format. */
  async text(): Promise<string> {
    // Taken together: a worker may end while the other is awaited.
    const ended = this.#ended
    const labelled = [...this.#latest].map(([worker, metrics]) =>
      metrics.map(metric => {
        if (!OF_ONE_PROCESS.test(metric.name) || !('values' in metric)) return metric
        // Otherwise the library would drop some of these or take the first one.
        return {
          ...metric,
          aggregator: 'sum' as const,
          values: metric.values.map(value => ({
            ...value,
            labels: { ...value.labels, worker: String(worker) }
          }))
        }
      })
    )
    return await AggregatorRegistry.aggregate([...labelled, await ended]).metrics()
  }
}
