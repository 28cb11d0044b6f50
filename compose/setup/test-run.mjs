// Runs test files as processes of their own, several at a time: as many as the processors can
// carry, according to what each file was measured to need (test-times.mjs). The longest files come
// first, so that none is left for the end. Files that judge times come last, and have the machine
// to themselves.
//
// The files run as plain Node processes that print TAP. tap's own runner would load its
// instrumentation into every service and command that a test starts, which costs 0.1 s of processor
// time each.

import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { countIn, show, summary } from './test-output.mjs'
import { needsOf } from './test-times.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** The time limit for one file. The slowest takes five minutes beside others. */
const secondsMax = 600
const endMsMax = 10_000
/**
 * Files that run together may need more processors than there are, by this much: none is busy all
 * the time. With 1, two processors had work for 58 % of a run; with 1.25, for 70 %.
 */
const overcommitment = 1.7

/**
 * Runs each `{ name, env, where }`, with `name` as in `cluster/store`, and prints its result as it
 * finishes.
 *
 * @returns for each `{ job, counted, seconds }`, in the order in which they ended
 */
export async function runFiles(jobs) {
  const processors = availableParallelism()
  const isBuffered = jobs.length > 1
  const files = jobs
    .map(job => ({ job, ...needsOf(job.name) }))
    .sort((a, b) => b.seconds - a.seconds)
  const quiet = files.filter(({ isQuiet }) => isQuiet)
  const others = files.filter(({ isQuiet }) => !isQuiet)
  return [
    ...(await runGroup(others, overcommitment * processors, isBuffered)),
    ...(await runGroup(quiet, processors, isBuffered))
  ]
}

// A file that needs more processors than there are runs by itself.
async function runGroup(files, cores, isBuffered) {
  const waiting = [...files]
  const running = new Set()
  const ended = []
  while (waiting.length + running.size > 0) {
    const used = [...running].reduce((sum, { needs }) => sum + needs, 0)
    const next = waiting.findIndex(file => running.size === 0 || used + file.cores <= cores)
    if (next === -1) {
      await Promise.race([...running].map(({ end }) => end))
      continue
    }
    const [{ job, cores: needs }] = waiting.splice(next, 1)
    const place = { needs }
    place.end = runFile(job, isBuffered).then(result => {
      running.delete(place)
      ended.push({ job, ...result })
    })
    running.add(place)
  }
  return ended
}

async function runFile({ name, env = {}, where = '' }, isBuffered) {
  // It comes with tap, so it exists only after the set-up has installed it.
  const { Parser } = await import('tap-parser')
  const lines = []
  const print = isBuffered ? line => lines.push(line) : line => console.log(line)
  const parser = new Parser()
  const counted = countIn(parser)
  show(parser, name, print)
  const results = new Promise(resolve => parser.once('complete', resolve))
  const begun = performance.now()
  const child = spawn(
    process.execPath,
    ['--enable-source-maps', join(root, 'dist', 'tests', `${name}.js`)],
    {
      cwd: root,
      env: { ...process.env, TAP_TIMEOUT: String(secondsMax), ...env },
      stdio: ['ignore', 'pipe', 'pipe']
    }
  )
  child.stdout.pipe(parser)
  child.stderr.setEncoding('utf8').on('data', text => print(text.trimEnd()))
  // After this signal, its clusters end with it.
  const late = setTimeout(() => {
    print(`${name} takes longer than ${secondsMax} s`)
    child.kill('SIGALRM')
    setTimeout(() => child.kill('SIGKILL'), endMsMax).unref()
  }, 1000 * secondsMax)
  const [code, signal] = await new Promise(resolve =>
    child.once('close', (...outcome) => resolve(outcome))
  )
  clearTimeout(late)
  const { ok } = await results
  if ((!ok || code !== 0) && counted.failed === 0) {
    print(`${name} ended with ${signal ?? `status ${code}`}, and no test of it failed`)
    counted.failed++
  }
  const seconds = (performance.now() - begun) / 1000
  for (const line of lines) console.log(line)
  console.log(
    `${counted.failed === 0 ? '  ok  ' : 'FAILED'}${seconds.toFixed(1).padStart(6)} s  ${basename(name)}${where}: ${summary(counted)}`
  )
  return { counted, seconds }
}
