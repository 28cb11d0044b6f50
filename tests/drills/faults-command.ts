// `npm run drill -- faults`: runs one scenario or all of them at any size, and reports whether the
// promises were kept.
import { randomInt } from 'node:crypto'
import { readNumber, readOptions, UsageError } from '../../src/cli/options.js'
import { latencyText, verdictText } from './figures.js'
import { SCENARIOS, type Scenario } from './scenarios.js'
import { faultsOf, HOSTS, PARTITION_ENV, PARTITIONS, type Partition } from './partitions.js'
import { Hosts } from './hosts.js'
import { Trial, type TrialOptions } from './trial.js'

const namesOf = (table: Readonly<Record<string, Scenario>>): string =>
  Object.entries(table)
    .map(([name, { about }]) => `                       ${name.padEnd(22)}${about}`)
    .join('\n')

export const FAULTS_HELP = `npm run drill -- faults --scenario kill-master --messages 100000 --seed 7
npm run drill -- partitions --scenario cut-master     (as root: each node and service on a host of its own, a network namespace)

  --scenario NAME    default: all, one after the other; of faults:
${namesOf(SCENARIOS)}
                     of partitions:
${namesOf(PARTITIONS)}
  --messages N       the load continues until this many are answered and the faults are over; default 10,000
  --rate N           messages a second of all writers together; default: each as fast as it gets answers
  --writers N        default 50
  --rooms N          default 20
  --readers N        default 40
  --tokens           the services ask for tokens, and streams whose tokens expire must end on time
  --seed N           repeats a run; default random, and reported`

export type FaultsSize = {
  readonly messages: number
  readonly rate: number | undefined
  readonly writers: number
  readonly rooms: number
  readonly readers: number
  readonly seed: number
  readonly hasRights?: boolean
}

// Short blocks and segments, so that they are filled, sealed and read all the time.
const ENV = { BLOCK_LENGTH: '50', SEGMENT_LENGTH: '64' }
const COMBINED = 2
const PAGERS = 3

/** The options of a trial that runs a scenario. */
export function trialOf(
  scenario: Scenario,
  { messages, rate, writers, rooms, readers, seed, hasRights = false }: FaultsSize
): TrialOptions {
  const names = Array.from({ length: rooms }, (_, index) => `drill-${seed}-${index + 1}`)
  const writer = (index: number): TrialOptions['writers'][number] => ({
    user: `writer-${index + 1}`,
    rooms: names,
    ...(rate === undefined ? {} : { perSecond: rate / writers })
  })
  return {
    seed,
    rooms: names,
    readers,
    combined: COMBINED,
    pagers: PAGERS,
    env: ENV,
    messages,
    writers: Array.from({ length: writers }, (_, index) => writer(index)),
    hasRights,
    excused: scenario.excused,
    isRepeating: scenario.isRepeating ?? false,
    ...(scenario.faults === undefined ? {} : { faults: scenario.faults })
  }
}

/** @returns the exit status: 1 if a promise was broken */
export async function holdFaults(args: readonly string[]): Promise<number> {
  return await holdAll(SCENARIOS, args, trialOf)
}

/**
 * Like `holdFaults`, with a network between the nodes. Without the right to create one it is
 * skipped, with a message.
 */
export async function holdPartitions(args: readonly string[]): Promise<number> {
  const missing = Hosts.unavailable()
  if (missing !== undefined) {
    console.log(`Skipped: ${missing}.`)
    return 0
  }
  const hosts = await Hosts.make(HOSTS)
  try {
    return await holdAll(PARTITIONS, args, (partition, size) => partitionOf(partition, size, hosts))
  } finally {
    hosts.remove()
  }
}

/** The options of a trial that runs a partition on these hosts. */
export function partitionOf(partition: Partition, size: FaultsSize, hosts: Hosts): TrialOptions {
  return { ...trialOf(partition, size), hosts, env: PARTITION_ENV, faults: faultsOf(partition) }
}

async function holdAll<T extends Scenario>(
  table: Readonly<Record<string, T>>,
  args: readonly string[],
  optionsOf: (scenario: T, size: FaultsSize) => TrialOptions
): Promise<number> {
  const { chosen, size } = readFaultsOptions(args, table)
  let isBroken = false
  for (const [name, scenario] of chosen) {
    console.log(`\n${name}: ${scenario.about} (--seed ${size.seed})`)
    const startedMs = performance.now()
    const report = (line: string): void => {
      console.log(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(7)} s  ${line}`)
    }
    await Trial.hold({ ...optionsOf(scenario, size), report }, (trial, verdict) => {
      console.log(`${verdictText(verdict)}\n${latencyText(trial)}`)
      if (trial.expiring !== undefined) console.log(trial.expiring.text)
      isBroken ||= verdict.violations.length > 0
    })
  }
  return isBroken ? 1 : 0
}

function readFaultsOptions<T>(
  args: readonly string[],
  table: Readonly<Record<string, T>>
): { chosen: Array<[name: string, scenario: T]>; size: FaultsSize } {
  const values = readOptions(args, {
    scenario: { type: 'string', default: 'all' },
    messages: { type: 'string' },
    rate: { type: 'string' },
    writers: { type: 'string' },
    rooms: { type: 'string' },
    readers: { type: 'string' },
    tokens: { type: 'boolean', default: false },
    seed: { type: 'string' }
  })
  const chosen = Object.entries(table).filter(
    ([name]) => values.scenario === 'all' || values.scenario === name
  )
  if (chosen.length === 0) {
    throw new UsageError(
      `--scenario must be all or one of ${Object.keys(table).join(', ')}, not '${values.scenario}'.`
    )
  }
  return {
    chosen,
    size: {
      hasRights: values.tokens,
      messages: readNumber('messages', values.messages, { min: 1, max: 10_000_000 }) ?? 10_000,
      rate: readNumber('rate', values.rate, { min: 1, max: 100_000 }),
      writers: readNumber('writers', values.writers, { min: 1, max: 10_000 }) ?? 50,
      rooms: readNumber('rooms', values.rooms, { min: 1, max: 10_000 }) ?? 20,
      readers: readNumber('readers', values.readers, { min: 0, max: 10_000 }) ?? 40,
      seed: readNumber('seed', values.seed, { min: 0, max: 2 ** 32 - 1 }) ?? randomInt(2 ** 32)
    }
  }
}
