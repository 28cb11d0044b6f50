// `npm run drill -- reshard` and the like: runs one drill or all of them, shows the result, and
// writes the report.
import { randomInt } from 'node:crypto'
import { readNumber, readOptions } from '../../src/cli/options.js'
import { measureDistribution } from './distribution.js'
import { writeReport } from './drill-report.js'
import { holdDrill, type DrillResult } from './drill-run.js'
import { drillText } from './drill-text.js'
import { DRILLS, type DrillName } from './drills.js'

// Object.keys loses the type of its keys.
export const DRILL_NAMES = Object.keys(DRILLS) as DrillName[]

export const DRILLS_HELP = `npm run drill -- reshard

${DRILL_NAMES.map(name => `  ${name.padEnd(19)}${DRILLS[name].about}`).join('\n')}
  all                these one after the other, and the report
  --seed N           repeats a run; default random, and reported
  --rate N           messages a second of each of nine writers, the tenth writes ten times as many; default 20
  --readers N        default 100
  --quiet SECONDS    of load before and after the change; default 10
  --history N        messages that the busiest user writes before the load starts; default 5,000
  --tokens           the services ask for tokens, and streams whose tokens expire must end on time
  --report FILE      writes the report with its plots; default of all without --tokens: bench/RESHARDING.md
  --blocks N         in the report: up to how many blocks the distribution is measured; default 1,000`

const BLOCKS = [1, 10, 100, 1000]
const REPORT = 'bench/RESHARDING.md'

/**
 * @returns the exit status: 1 if anything was lost, repeated, reordered or refused, or a limit was
 * exceeded
 */
export async function holdDrills(
  which: DrillName | 'all',
  args: readonly string[]
): Promise<number> {
  const values = readOptions(args, {
    seed: { type: 'string' },
    rate: { type: 'string' },
    readers: { type: 'string' },
    quiet: { type: 'string' },
    history: { type: 'string' },
    tokens: { type: 'boolean', default: false },
    report: { type: 'string' },
    blocks: { type: 'string' }
  })
  const size = {
    seed: readNumber('seed', values.seed, { min: 0, max: 2 ** 32 - 1 }) ?? randomInt(2 ** 32),
    rate: readNumber('rate', values.rate, { min: 1, max: 1000 }) ?? 20,
    readers: readNumber('readers', values.readers, { min: 1, max: 5000 }) ?? 100,
    quietMs:
      1000 * (readNumber('quiet', values.quiet, { min: 1, max: 3600, isFraction: true }) ?? 10),
    history: readNumber('history', values.history, { min: 0, max: 1_000_000 }) ?? 5000,
    hasRights: values.tokens
  }
  const blocksMax = readNumber('blocks', values.blocks, { min: 1, max: 100_000 }) ?? 1000
  const report = values.report ?? (which === 'all' && !values.tokens ? REPORT : undefined)
  const results = new Map<string, DrillResult>()
  for (const name of which === 'all' ? DRILL_NAMES : [which]) {
    console.log(`\n${name}: ${DRILLS[name].about} (--seed ${size.seed})`)
    const startedMs = performance.now()
    const result = await holdDrill(DRILLS[name], size, line => {
      console.log(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(7)} s  ${line}`)
    })
    for (const { words, output } of result.runs) {
      console.log(`\n$ npm run cluster -- ${words.join(' ')}\n${output}`)
    }
    console.log(`\n${drillText(result)}`)
    results.set(name, result)
  }
  if (report !== undefined) {
    const distribution = await measureDistribution(
      [...BLOCKS.filter(blocks => blocks < blocksMax), blocksMax],
      size.seed
    )
    writeReport(report, { results, distribution, command: [which, ...args].join(' ') })
    console.log(`\nThe report: ${report}`)
  }
  return [...results.values()].some(({ violations }) => violations.length > 0) ? 1 : 0
}
