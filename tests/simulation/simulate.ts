// `npm run simulate`: runs seeds and reports which fail, or which deliberate defects they find. See
// README.md in this folder.
import './globals.js'
import { register } from 'node:module'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { outsidePromises, realNow } from './globals.js'
import { MUTATIONS } from './mutations.js'
import { add, NO_SEEDS, simulate, simulateInParallel, type Sum } from './processes.js'
import type { Outcome } from './run.js'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    every: { type: 'string', default: '1' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    minutes: { type: 'string' },
    steps: { type: 'string' },
    trace: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: false },
    regressions: { type: 'boolean', default: false },
    mutation: { type: 'string' },
    mutations: { type: 'boolean', default: false },
    'until-failure': { type: 'boolean', default: false },
    'is-part': { type: 'boolean', default: false }
  }
})

const SHRINK_MS_MAX = 60_000

const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

if (values.mutation !== undefined && !values.mutations) {
  const mutation = MUTATIONS.find(({ name }) => name === values.mutation)
  if (mutation === undefined) throw new Error(`There is no mutation "${values.mutation}"`)
  register('./mutation-hook.js', import.meta.url, { data: mutation })
}

process.exitCode = values.mutations
  ? await tryMutations()
  : values.regressions
    ? await runRegressions()
    : await runSeeds()

async function runSeeds(): Promise<number> {
  if (values.seed !== undefined) {
    const sum = await runOne(Number(values.seed), Infinity)
    return sum.failed
  }
  const [first = 1, last = 2000] = (
    values.seeds ?? (values.minutes === undefined ? '1..2000' : '1..1000000000')
  )
    .split('..')
    .map(Number)
  const begunAt = realNow()
  const deadline =
    values.minutes === undefined ? Infinity : begunAt + 60_000 * Number(values.minutes)
  let sum: Sum
  if (values['is-part']) {
    sum = await runHere(first, last, deadline)
    say(JSON.stringify(sum))
  } else {
    sum = await simulateInParallel({ first, last, jobs: Number(values.jobs) }, passedOn(), say)
    sayFigures(sum, (realNow() - begunAt) / 1000)
  }
  return sum.failed > 0 ? 1 : 0
}

function passedOn(): string[] {
  const args = (['minutes', 'steps', 'mutation'] as const).flatMap(name => {
    const value = values[name]
    return value === undefined ? [] : [`--${name}`, value]
  })
  for (const name of ['trace', 'shrink', 'until-failure'] as const) {
    if (values[name]) args.push(`--${name}`)
  }
  return args
}

async function runHere(first: number, last: number, deadline: number): Promise<Sum> {
  let sum = NO_SEEDS
  for (let seed = first; seed <= last && realNow() < deadline; seed += Number(values.every)) {
    sum = add(sum, await runOne(seed, deadline))
    if (values['until-failure'] && sum.failed > 0) break
  }
  return sum
}

async function runOne(seed: number, deadline: number): Promise<Sum> {
  const { runPlan, runSeed } = await import('./run.js')
  const outcome: Outcome = await outsidePromises(() =>
    runSeed(seed, values.steps === undefined ? undefined : Number(values.steps))
  )
  const { steps, virtualMs, violation } = outcome
  const sum = { seeds: 1, failed: violation === undefined ? 0 : 1, steps, virtualMs }
  if (values.trace) for (const line of outcome.trace) say(line)
  if (values.seed !== undefined) say(`${outcome.digest}  ${steps} steps`)
  if (violation === undefined) return sum
  say(`seed ${seed}: ${violation}`)
  if (!values.shrink) return sum
  const { shrink } = await import('./shrink.js')
  const until = Math.min(deadline, realNow() + SHRINK_MS_MAX)
  const short = await shrink(
    outcome,
    plan => outsidePromises(() => runPlan(plan)),
    () => realNow() < until
  )
  say(`shrunk from ${outcome.plan.actions.length} actions to ${short.plan.actions.length}:`)
  say(JSON.stringify(short.plan))
  for (const line of short.trace) say(line)
  return sum
}

function sayFigures({ seeds, failed, steps, virtualMs }: Sum, seconds: number): void {
  say(
    `${seeds} seeds, ${failed} failed, ${seconds.toFixed(1)} s, ${Math.round((60 * seeds) / seconds)} a minute, ${Math.round(steps / seeds)} steps and ${Math.round(virtualMs / seeds)} virtual ms a seed`
  )
}

async function runRegressions(): Promise<number> {
  const { runPlan } = await import('./run.js')
  const { REGRESSIONS } = await import('./regressions.js')
  let failed = 0
  for (const { name, plan } of REGRESSIONS) {
    const { violation } = await outsidePromises(() => runPlan(plan))
    say(
      `${violation === undefined ? 'ok' : 'FAILED'}  ${name}${violation === undefined ? '' : `: ${violation}`}`
    )
    if (violation !== undefined) failed++
  }
  return failed
}

// Each in a process of its own, because a module is loaded only once.
async function tryMutations(): Promise<number> {
  const [first = 1, last = 10_000] = (values.seeds ?? '1..10000').split('..').map(Number)
  let survived = 0
  say('| deliberate defect | seeds until it was found | as |')
  say('|---|---|---|')
  for (const { name } of MUTATIONS) {
    if (values.mutation !== undefined && name !== values.mutation) continue
    const lines: string[] = []
    const args = ['--mutation', name, '--seeds', `${first}..${last}`, '--until-failure']
    if (values.minutes !== undefined) args.push('--minutes', values.minutes)
    const sum = await simulate(args, line => lines.push(line))
    const [, seed, as = ''] = /^seed (\d+): (.*)$/m.exec(lines.join('\n')) ?? []
    if (seed === undefined) survived++
    const seeds =
      seed !== undefined
        ? String(Number(seed) - first + 1)
        : sum === undefined
          ? `an error: ${lines.join(' ').slice(0, 200)}`
          : `not within ${sum.seeds}`
    say(`| ${name} | ${seeds} | ${as.slice(0, 110)} |`)
  }
  say(`${survived} survived`)
  return survived > 0 ? 1 : 0
}
