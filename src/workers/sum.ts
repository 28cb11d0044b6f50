// Adds up the metrics of several processes. Counters, histograms and gauges are summed (or joined
// as a gauge's `aggregator` says); what describes one process, such as its memory, stays apart
// under the label `worker`.
import { AggregatorRegistry } from 'prom-client'
import { type MetricsJson } from './messages.js'

const OF_ONE_PROCESS = /^(process|nodejs)_/

/** @param reports by the worker's number */
export async function sumOf(reports: ReadonlyMap<number, MetricsJson>): Promise<string> {
  const labelled = [...reports].map(([worker, metrics]) =>
    metrics.map(metric => {
      if (!OF_ONE_PROCESS.test(metric.name) || !('values' in metric)) return metric
      // The library would leave some of these out, or take the first.
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
