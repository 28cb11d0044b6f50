// `npm run test:servers [-- redis-8.2 valkey-9.1 …]`: fetches other Redis and Valkey servers, and
// runs on each of them all tests that need a server, the drills, and the drill of many faults at
// once. At the end, a table shows the results, and which servers were not available. It takes about
// half an hour for each server.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fetchServer, servers } from './servers.mjs'
import { giveUp, setUp } from './setup.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const report = mkdtempSync(join(tmpdir(), 'dialogs-report-'))
const runs = [
  { title: 'tests', args: ['compose/setup/test.mjs', 'cluster/', 'faults/'] },
  {
    title: 'drill all',
    args: [
      'compose/setup/run.mjs',
      'tests/drills/drill',
      'all',
      '--report',
      join(report, 'RESHARDING.md')
    ]
  },
  {
    title: 'drill faults --scenario chaos',
    args: ['compose/setup/run.mjs', 'tests/drills/drill', 'faults', '--scenario', 'chaos']
  }
]

const names = process.argv.slice(2)
const unknown = names.find(name => !servers.some(server => server.name === name))
if (unknown !== undefined) {
  giveUp(
    new Error(
      `There is no server '${unknown}', there are: ${servers.map(({ name }) => name).join(', ')}`
    )
  )
}
await setUp().catch(giveUp)

const rows = []
for (const server of servers.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const { name, version, path, reason } = fetchServer(server)
  if (path === undefined) {
    rows.push({ name, outcome: `not run: ${reason}`, isFailed: false })
    continue
  }
  for (const { title, args } of runs) {
    console.log(`\n== ${name} (${version}): ${title}`)
    const { status, lastLine, seconds } = await run(args, { ...process.env, PATH: path })
    rows.push({
      name: `${name} (${version})`,
      outcome: `${title}: ${status === 0 ? 'ok' : 'FAILED'} in ${seconds} s: ${lastLine}`,
      isFailed: status !== 0
    })
  }
}
rmSync(report, { recursive: true, force: true })
const width = Math.max(...rows.map(({ name }) => name.length))
console.log(`\n${rows.map(({ name, outcome }) => `${name.padEnd(width)}  ${outcome}`).join('\n')}`)
process.exitCode = rows.some(({ isFailed }) => isFailed) ? 1 : 0

// Shows the output as it comes, and keeps its last line.
async function run(args, env) {
  const begun = Date.now()
  const child = spawn(process.execPath, args, {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    process.stdout.write(text)
    output = (output + text).slice(-2000)
  })
  const status = await new Promise(resolve => child.once('close', resolve))
  return {
    status,
    lastLine: output.trim().split('\n').at(-1) ?? '',
    seconds: Math.round((Date.now() - begun) / 1000)
  }
}
