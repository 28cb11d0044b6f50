// `npm test [-- name …]` sets up what is missing (a type error ends it there), lints, and runs all
// test files, or the named ones. It shows the result of each file as it finishes; the last line
// says how many tests passed. A test is a call at the top level of a file, with its assertions and
// subtests. A file that crashes counts as one more failed test. With --retry the first few failed
// files run once more at the end, when nothing else runs, and their second results count: on a busy
// machine a bound on time may fail once. The output names each such file. Without names, the tests
// that depend most on the server also run on the newest Redis and the newest Valkey.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fetchServer, newestServers, servers } from './servers.mjs'
import { setUp, testTools } from './setup.mjs'
import { summary } from './test-output.mjs'
import { runFiles } from './test-run.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
/**
 * Below tests/: the folders that need no server, a Redis Cluster, a cluster to break, a browser, a
 * Docker engine.
 */
const folders = ['unit', 'cluster', 'faults', 'page', 'containers']
/** Files that also run on other servers. */
const serverTests = [
  'cluster/scripts',
  'cluster/store',
  'cluster/log',
  'cluster/history',
  'cluster/merge',
  'cluster/atomic',
  'cluster/cluster-cli',
  'faults/half-moved',
  'faults/store-faults',
  'faults/stream-faults'
]
/** If more files failed, a busy machine is not the reason. */
const retriesMax = 5
/** No file is tried again if that would take longer than this, counted from the start. */
const retrySecondsMax = 36 * 60

const counts = { passed: 0, failed: 0, skipped: 0 }
const words = process.argv.slice(2).filter(word => word !== '--retry')
const begun = performance.now()

try {
  await setUp({ tools: testTools })
  const names = filesNamed(words)
  lint()
  const jobs = [...names.map(name => ({ name })), ...(words.length === 0 ? onNewestServers() : [])]
  console.log(`Running ${jobs.length} test ${jobs.length === 1 ? 'file' : 'files'}`)
  const ended = await runFiles(jobs)
  for (const { counted } of ended) count(counted)
  if (process.argv.includes('--retry')) await retry(ended)
} catch (error) {
  console.log(error.message)
  counts.failed++
}
const seconds = Math.round((performance.now() - begun) / 1000)
console.log(`\nIt took ${Math.floor(seconds / 60)} min ${seconds % 60} s`)
console.log(summary(counts))
process.exitCode = counts.failed > 0 ? 1 : 0

function lint() {
  const tools = [
    { path: ['eslint', 'bin', 'eslint.js'], cache: 'eslint-cache', args: ['.'] },
    { path: ['prettier', 'bin', 'prettier.cjs'], cache: 'prettier-cache', args: ['--check', '.'] }
  ]
  for (const { path, cache, args } of tools) {
    const { status } = spawnSync(
      process.execPath,
      [
        join(root, 'node_modules', ...path),
        ...['--cache', '--cache-location', join(root, 'dist', cache)],
        ...args
      ],
      { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] }
    )
    if (status !== 0) {
      throw new Error('Lint failed, see above; `npm run format` corrects the format')
    }
  }
}

// `store` means the file store.ts in any folder; `cluster/` means all files of a folder; if neither
// exists, a word means every file with that word in its name.
function filesNamed(names) {
  const all = folders.flatMap(folder => testFilesIn(folder))
  const chosen = names.length === 0 ? all : names.flatMap(name => ofName(name, all))
  return [...new Set(chosen)]
}

function testFilesIn(folder) {
  const path = join(root, 'dist', 'tests', folder)
  if (!existsSync(path)) return []
  return readdirSync(path)
    .filter(name => name.endsWith('.js'))
    .map(name => `${folder}/${basename(name, '.js')}`)
    .sort()
}

function ofName(name, all) {
  const exact = all.filter(
    file =>
      file === name || basename(file) === name || file.startsWith(`${name.replace(/\/$/, '')}/`)
  )
  const found = exact.length > 0 ? exact : all.filter(file => file.includes(name))
  if (found.length === 0) {
    throw new Error(`No test file has "${name}" in its name, there are: ${all.join(', ')}`)
  }
  return found
}

function onNewestServers() {
  const all = folders.flatMap(folder => testFilesIn(folder))
  const names = serverTests.filter(name => all.includes(name))
  if (names.length === 0) return []
  const own = fetchServer(servers[0]).version
  return newestServers().flatMap(({ found, missing }) => {
    for (const { name, reason } of missing) {
      const instead = found === undefined ? '' : ` but on ${found.name}`
      console.log(`Not run on ${name}${instead}: ${reason}`)
    }
    if (found === undefined) counts.skipped++
    return found === undefined || found.version === own
      ? []
      : names.map(name => ({
          name,
          env: { PATH: found.path, SHORT: '1' },
          where: ` on ${found.name}`
        }))
  })
}

async function retry(ended) {
  const failed = ended
    .filter(({ counted }) => counted.failed > 0)
    .sort((a, b) => a.seconds - b.seconds)
  if (failed.length > retriesMax) {
    console.log(`${failed.length} files failed: too many to try them once more`)
    return
  }
  for (const { job, counted, seconds } of failed) {
    const file = `${basename(job.name)}${job.where ?? ''}`
    if ((performance.now() - begun) / 1000 + seconds > retrySecondsMax) {
      console.log(`Not tried once more, because it is late: ${file}`)
      continue
    }
    console.log(`Once more, because it failed: ${file}`)
    const [again] = await runFiles([job])
    count(counted, -1)
    count(again.counted)
    if (again.counted.failed === 0) console.log(`Unsteady: ${file} passed at the second try`)
  }
}

function count(counted, sign = 1) {
  for (const outcome of Object.keys(counts)) counts[outcome] += sign * counted[outcome]
}
