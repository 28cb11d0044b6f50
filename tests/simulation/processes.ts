// Runs seeds in several processes at once, each with every n-th seed: a run is one synchronous
// call, so a process uses one core only.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** What a process reports at the end, as JSON on a line of its own. */
export type Sum = {
  readonly seeds: number
  readonly failed: number
  readonly steps: number
  readonly virtualMs: number
}

export const NO_SEEDS: Sum = { seeds: 0, failed: 0, steps: 0, virtualMs: 0 }

/**
 * A run makes much short-lived garbage. With a larger young generation a seed takes half the time.
 * One process runs for each core, so threads of their own for the collector would only compete.
 * Stack traces are captured thousands of times and read by nobody, so they are off; `--seed n`
 * shows them.
 */
const V8_OPTIONS = ['--max-semi-space-size=64', '--single-threaded-gc', '--stack-trace-limit=0']
const SIMULATE = fileURLToPath(new URL('./simulate.js', import.meta.url))

export const add = (a: Sum, b: Sum): Sum => ({
  seeds: a.seeds + b.seeds,
  failed: a.failed + b.failed,
  steps: a.steps + b.steps,
  virtualMs: a.virtualMs + b.virtualMs
})

/**
 * Runs the command with these arguments in a process of its own.
 * @param say gets each line that the process writes
 * @returns its totals; undefined if the process ended early
 */
export async function simulate(
  args: readonly string[],
  say: (line: string) => void
): Promise<Sum | undefined> {
  const child = spawn(process.execPath, [...V8_OPTIONS, SIMULATE, '--is-part', ...args], {
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let sum: Sum | undefined
  const ended = [child.stdout, child.stderr].map(async stream => {
    for await (const line of createInterface({ input: stream })) {
      // Only this file's own processes write such a line.
      if (line.startsWith('{"seeds"')) sum = JSON.parse(line) as Sum
      else say(line)
    }
  })
  await Promise.all([...ended, new Promise(resolve => child.once('close', resolve))])
  return sum
}

/**
 * Runs seeds in this many processes.
 * @throws Error when one of them ended early
 */
export async function simulateInParallel(
  { first, last, jobs }: { readonly first: number; readonly last: number; readonly jobs: number },
  args: readonly string[],
  say: (line: string) => void
): Promise<Sum> {
  const parts = Array.from({ length: jobs }, (_, index) =>
    simulate(['--seeds', `${first + index}..${last}`, '--every', String(jobs), ...args], say)
  )
  let sum = NO_SEEDS
  for (const part of await Promise.all(parts)) {
    if (part === undefined) throw new Error('A process of the simulation ended early')
    sum = add(sum, part)
  }
  return sum
}
