// The result of a drill in words and tables, for the terminal and for the report.
import { count } from '../../src/cli/progress.js'
import { table } from '../../src/cli/cluster/table.js'
import { type DrillResult } from './drill-run.js'
import { pauseText, verdictText } from './figures.js'

export function drillText(result: DrillResult): string {
  return [
    verdictText({ ...result.verdict, violations: result.violations }),
    '',
    latencyTable(result),
    '',
    pauseText(result.pausesMs),
    ...result.limitLines,
    ...(result.rightsLine === undefined ? [] : [result.rightsLine])
  ].join('\n')
}

/** Latencies before, during and after the change. */
export function latencyTable({ latencies }: DrillResult): string {
  const ms = (value: number): string => value.toFixed(1)
  return table(
    ['phase', 'what', '>a second', '>p50 ms', '>p99 ms', '>max ms'],
    latencies.map(({ phase, what, perSecond, p50, p99, max }) => [
      phase,
      what,
      count(perSecond),
      ms(p50),
      ms(p99),
      ms(max)
    ])
  )
}
