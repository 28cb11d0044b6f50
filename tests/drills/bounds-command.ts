// `npm run drill -- bounds`: the promises that are limits. Each has an experiment that measures it.
import { randomInt } from 'node:crypto'
import { readNumber, readOptions, UsageError } from '../../src/cli/options.js'
import { evenness } from './evenness.js'
import { type Experiment } from './findings.js'
import { lostPublication } from './lost-publication.js'
import { manyDialogs } from './many-dialogs.js'
import { reconnectStorm } from './reconnect-storm.js'
import { repeatStorm } from './repeat-storm.js'
import { rightsFor } from './rights.js'
import { slowReaders } from './slow-readers.js'

export const EXPERIMENTS = {
  'repeat-storm': repeatStorm,
  evenness,
  'lost-publication': lostPublication,
  'slow-readers': slowReaders,
  'reconnect-storm': reconnectStorm,
  'many-dialogs': manyDialogs
} as const satisfies Record<string, Experiment>

export type ExperimentName = keyof typeof EXPERIMENTS

export const BOUNDS_HELP = `npm run drill -- bounds --experiment slow-readers --scale 1

  --experiment NAME  default: all, one after the other:
${Object.entries(EXPERIMENTS)
  .map(([name, { about }]) => `                       ${name.padEnd(22)}${about}`)
  .join('\n')}
  --tokens           the services ask for tokens
  --scale FRACTION   0.01 to 1, default 1: smaller and shorter, with the same limits
  --seed N           repeats a run; default random, and reported`

/** @returns the exit status: 1 if a limit was exceeded */
export async function holdBounds(args: readonly string[]): Promise<number> {
  const values = readOptions(args, {
    experiment: { type: 'string', default: 'all' },
    tokens: { type: 'boolean', default: false },
    scale: { type: 'string' },
    seed: { type: 'string' }
  })
  // Object.keys loses the type of its keys.
  const all = Object.keys(EXPERIMENTS) as ExperimentName[]
  const names = values.experiment === 'all' ? all : all.filter(name => name === values.experiment)
  if (names.length === 0) {
    throw new UsageError(
      `--experiment must be all or one of ${all.join(', ')}, not '${values.experiment}'.`
    )
  }
  const scale = readNumber('scale', values.scale, { min: 0.01, max: 1, isFraction: true }) ?? 1
  const seed = readNumber('seed', values.seed, { min: 0, max: 2 ** 32 - 1 }) ?? randomInt(2 ** 32)
  const rights = values.tokens ? await rightsFor(['*']) : undefined
  let isBroken = false
  for (const name of names) {
    console.log(`\n${name}: ${EXPERIMENTS[name].about} (--scale ${scale} --seed ${seed})`)
    const { figures, violations } = await EXPERIMENTS[name].hold({
      scale,
      seed,
      rights,
      report: line => {
        console.log(`  ${line}`)
      }
    })
    for (const line of figures) console.log(line)
    console.log(
      violations.length === 0
        ? 'Kept'
        : `BROKEN\n${violations.map(violation => `  ${violation}`).join('\n')}`
    )
    isBroken ||= violations.length > 0
  }
  return isBroken ? 1 : 0
}
