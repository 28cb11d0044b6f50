// One step of the set-up: runs a command, shows a title and the time it takes, and shows its output
// only if it fails. Everything goes to stderr, so that the output of `npm run msggen -- --json`
// stays clean.

import { spawn } from 'node:child_process'

const root = new URL('../..', import.meta.url)
const aliveMs = 10_000

/** @throws Error with one line if the command fails, after its output was shown */
export async function step(title, command, args, env = {}) {
  const begun = Date.now()
  const seconds = () => `${Math.round((Date.now() - begun) / 1000)} s`
  const ticker = process.stderr.isTTY
    ? setInterval(() => process.stderr.write(`\r${title} … ${seconds()} `), 1000)
    : setInterval(() => process.stderr.write(`  … still running, ${seconds()}\n`), aliveMs)
  process.stderr.write(process.stderr.isTTY ? `${title} … ` : `${title} …\n`)
  try {
    const { status, output } = await run(command, args, env)
    process.stderr.write(process.stderr.isTTY ? '\r' : '')
    if (status === 0) {
      process.stderr.write(`${title}: done in ${seconds()}\n`)
    } else {
      process.stderr.write(`${title}: failed\n${output}`)
      throw new Error(`${title} did not work: \`${[command, ...args].join(' ')}\` says why above`)
    }
  } finally {
    clearInterval(ticker)
  }
}

function run(command, args, env) {
  return new Promise((resolve, reject) => {
    const options = {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe']
    }
    const child = spawn(command, args, options)
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', text => {
        output += text
      })
    }
    child.once('error', reject)
    child.once('close', status => resolve({ status, output }))
  })
}
