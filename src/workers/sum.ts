// Adds up the metrics of several processes. Counters, histograms and gauges are summed (or combined
// as a gauge's `aggregator` says). Metrics that describe one process, such as its memory, stay
// separate, with the label `worker`.
import { AggregatorRegistry } from 'prom-client'
import { type MetricsJson } from './messages.js'

const OF_ONE_PROCESS = /^(process|nodejs)_/

/** @param reports the metrics by worker number */
export async function sumOf(reports: ReadonlyMap<number, MetricsJson>): Promise<string> {
  const labelled = [...reports].map(([worker, metrics]) =>
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
  return await AggregatorRegistry.aggregate(labelled).metrics()
}
