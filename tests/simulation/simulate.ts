// `npm run simulate`: runs seeds and says which fail, or which deliberate defects are found. See
// README.md in this folder.
import './globals.js'
import { spawn } from 'node:child_process'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { outsidePromises, realNow } from './globals.js'
import { MUTATIONS } from './mutations.js'
import type { Outcome } from './run.js'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    minutes: { type: 'string' },
    steps: { type: 'string' },
    trace: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: false },
    regressions: { type: 'boolean', default: false },
    mutation: { type: 'string' },
    mutations: { type: 'boolean', default: false },
    'until-failure': { type: 'boolean', default: false }
  }
})

const SHRINK_MS_MAX = 60_000

const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

if (values.mutation !== undefined) {
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
  const { runPlan, runSeed } = await import('./run.js')
  const { shrink } = await import('./shrink.js')
  const [first = 1, last = 2000] =
    values.seed !== undefined
      ? [Number(values.seed), Number(values.seed)]
      : (values.seeds ?? (values.minutes === undefined ? '1..2000' : '1..1000000000'))
          .split('..')
          .map(Number)
  const begunAt = realNow()
  const deadline =
    values.minutes === undefined ? Infinity : begunAt + 60_000 * Number(values.minutes)
  let seeds = 0
  let steps = 0
  let virtualMs = 0
  let failed = 0
  for (let seed = first; seed <= last && realNow() < deadline; seed++) {
    const outcome: Outcome = await outsidePromises(() =>
      runSeed(seed, values.steps === undefined ? undefined : Number(values.steps))
    )
    seeds++
    steps += outcome.steps
    virtualMs += outcome.virtualMs
    if (values.trace) for (const line of outcome.trace) say(line)
    if (values.seed !== undefined) say(`${outcome.digest}  ${outcome.steps} steps`)
    if (outcome.violation === undefined) continue
    say(`seed ${seed}: ${outcome.violation}`)
    failed++
    if (values['until-failure']) break
    if (!values.shrink) continue
    const until = realNow() + SHRINK_MS_MAX
    const short = await shrink(
      outcome,
      plan => outsidePromises(() => runPlan(plan)),
      () => realNow() < until
    )
    say(`shrunk from ${outcome.plan.actions.length} actions to ${short.plan.actions.length}:`)
    say(JSON.stringify(short.plan))
    for (const line of short.trace) say(line)
  }
  const seconds = (realNow() - begunAt) / 1000
  say(
    `${seeds} seeds, ${failed} failed, ${seconds.toFixed(1)} s, ${Math.round((60 * seeds) / seconds)} a minute, ${Math.round(steps / seeds)} steps and ${Math.round(virtualMs / seeds)} virtual ms a seed`
  )
  return failed > 0 ? 1 : 0
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

// Each in a process of its own: a module is loaded once.
async function tryMutations(): Promise<number> {
  const [first = 1, last = 10_000] = (values.seeds ?? '1..10000').split('..').map(Number)
  let survived = 0
  say('| deliberate defect | seeds until it was found | as |')
  say('|---|---|---|')
  for (const { name } of MUTATIONS) {
    const output = await outputOf([
      '--mutation',
      name,
      '--seeds',
      `${first}..${last}`,
      '--until-failure',
      ...(values.minutes === undefined ? [] : ['--minutes', values.minutes])
    ])
    const found = /^seed (\d+): (.*)$/m.exec(output)
    if (found === null) survived++
    const tried = /^(\d+) seeds, 0 failed/m.exec(output)?.[1]
    say(
      `| ${name} | ${found === null ? `not within ${tried ?? `an error: ${output.slice(0, 200)}`}` : Number(found[1]) - first + 1} | ${found?.[2]?.slice(0, 110) ?? ''} |`
    )
  }
  say(`${MUTATIONS.length - survived} of ${MUTATIONS.length} found`)
  return survived > 0 ? 1 : 0
}

function outputOf(args: readonly string[]): Promise<string> {
  return new Promise(resolve => {
    const child = spawn(
      process.execPath,
      [...process.execArgv, fileURLToPath(import.meta.url), ...args],
      { stdio: ['ignore', 'pipe', 'pipe'] }
    )
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    child.once('close', () => {
      resolve(output)
    })
  })
}
