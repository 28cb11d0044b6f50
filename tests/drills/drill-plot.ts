// Plots a drill over time: messages written and delivered, latencies, and moved slots.
import { type DrillResult } from './drill-run.js'
import { plotSvg } from './plot.js'

const BLUE = '#1668c1'
const GREEN = '#2c8a3a'

export function drillPlot({ drill, bins, deeds, span }: DrillResult): string {
  const series = (
    name: string,
    color: string,
    value: (bin: DrillResult['bins'][number]) => number
  ): { name: string; color: string; points: Array<[number, number]> } => ({
    name,
    color,
    points: bins.map(bin => [bin.atS, value(bin)])
  })
  return plotSvg({
    title: drill.title,
    seconds: Math.max(1, bins.length / 2),
    span,
    marks: deeds.filter(({ atS }) => atS >= 0),
    panels: [
      {
        label: 'POSTs acknowledged a second',
        series: [series('POST', BLUE, ({ posts }) => posts)]
      },
      {
        label: 'deliveries a second',
        series: [series('delivery', GREEN, ({ deliveries }) => deliveries)]
      },
      {
        label: 'p99 of each half second, ms',
        series: [
          series('delivery', GREEN, ({ deliveryP99 }) => deliveryP99),
          series('POST', BLUE, ({ postP99 }) => postP99)
        ]
      },
      {
        label: 'slots away from where they were',
        series: [series('slots', BLUE, ({ slotsMoved }) => slotsMoved)]
      }
    ]
  })
}
