// The options of `npm run bench`: which parts, how much of each, and where the figures go.
import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { readNumber, readOptions, UsageError } from '../src/cli/options.js'
import { type Part, type Scale } from './part.js'

const SHORT_SECONDS = 0.5

export type BenchOptions = {
  readonly parts: readonly Part[]
  readonly scaleOf: (part: Part) => Scale
  readonly isShort: boolean
  readonly isJson: boolean
  readonly isRecorded: boolean
  readonly profileFolder: string | undefined
  readonly isHelp: boolean
}

export const help = (
  parts: readonly Part[]
): string => `Measures the service beside its peers and its limits, in the same run, and says which goals are met.

  npm run bench                     all parts, one after the other
  npm run bench -- post fanout      some of them

Parts
${parts.map(({ name, about }) => `  ${name.padEnd(13)} ${about}`).join('\n')}

How much
  --rounds N         how often everything is measured, in turn; the median counts; default ${parts.map(({ name, rounds }) => `${name} ${rounds}`).join(', ')}
  --seconds N        for each measurement; default ${parts
    .filter(({ seconds }) => seconds > 0)
    .map(({ name, seconds }) => `${name} ${seconds}`)
    .join(', ')}
  --full             even: a million messages instead of 200,000
  --short            a little of everything, once: proves only that the benchmarks work
Output
  --record           also writes the tables into bench/RESULTS.md
  --profile FOLDER   writes profiles of the service's process there, and shows what they say; slows it down
  --json
  --help

Exit status: 0 everything was measured, whatever the figures; 1 a part failed; 2 wrong usage.`

/** @throws UsageError */
export function readBenchOptions(args: readonly string[], all: readonly Part[]): BenchOptions {
  const isPart = (word: string): boolean => all.some(({ name }) => name === word)
  const stray = args.find(
    (word, index) =>
      !word.startsWith('-') &&
      !isPart(word) &&
      !/^--(rounds|seconds|profile)$/.test(args[index - 1] ?? '')
  )
  if (stray !== undefined) {
    throw new UsageError(
      `There is no part '${stray}', there are: ${all.map(({ name }) => name).join(', ')}.`
    )
  }
  const values = readOptions(
    args.filter(word => !isPart(word)),
    {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      full: { type: 'boolean', default: false },
      short: { type: 'boolean', default: false },
      record: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false }
    }
  )
  if (values.short && values.record) {
    throw new UsageError('The figures of a short run mean nothing: --record needs a real one.')
  }
  if (values.profile !== undefined && (values.record || values.json || values.short)) {
    throw new UsageError(
      'A profiled run is slower: --profile cannot go with --record, --json or --short.'
    )
  }
  if (values.short && values.full) throw new UsageError('--short and --full contradict each other.')
  const rounds = readNumber('rounds', values.rounds, { min: 1, max: 1000 })
  const seconds = readNumber('seconds', values.seconds, { min: 0.1, max: 3600, isFraction: true })
  return {
    parts: args.some(isPart) ? all.filter(({ name }) => args.includes(name)) : all,
    scaleOf: part => ({
      rounds: rounds ?? (values.short ? 1 : part.rounds),
      seconds: seconds ?? (values.short ? SHORT_SECONDS : part.seconds),
      isShort: values.short,
      isFull: values.full
    }),
    isShort: values.short,
    isJson: values.json,
    isRecorded: values.record,
    profileFolder: values.profile === undefined ? undefined : folderOf(values.profile),
    isHelp: values.help
  }
}

function folderOf(path: string): string {
  mkdirSync(path, { recursive: true })
  return resolve(path)
}
