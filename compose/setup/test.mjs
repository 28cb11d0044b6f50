// `npm test [-- name …]` sets up what is missing (a type error ends it there), lints, and runs all
// test files, or those named. It shows the result of each file as it finishes; the last line says
// how many tests passed. A test is a call at the top level of a file, with its assertions and
// subtests. A file that crashes counts as one more failed test. With --retry a file that failed
// runs once more at the end, when nothing else runs, and its second result counts: on a busy
// machine a bound on time may fail once. The output names each such file. Without names, the tests
// that depend most on what a server does are run once more on the newest Redis and the newest
// Valkey, on both at the same time.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fetchServer, newestServers, servers } from './servers.mjs'
import { setUp, testTools } from './setup.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
/**
 * Below tests/: what needs no server, a Redis Cluster, a cluster that is broken, a browser, a
 * Docker engine.
 */
const folders = ['unit', 'cluster', 'faults', 'page', 'containers']
/**
 * These load the machine themselves, or judge times: one at a time. Others mostly wait, for Redis
 * above all: two at a time.
 */
const aloneTests =
  /\/(page|containers)\/|\/faults\/(drill|large-room|partitions|store-faults|stream-faults|unread)\./
/** What is run on other servers, too. */
const serverTests = [
  ...['scripts', 'store', 'log', 'history', 'half-moved', 'merge'],
  ...['atomic', 'cluster-cli', 'store-faults', 'stream-faults']
]
const counts = { passed: 0, failed: 0, skipped: 0 }
const words = process.argv.slice(2).filter(word => word !== '--retry')
/** Files that failed: what they counted, and the environment that they ran in. */
let failures = []

try {
  await setUp({ tools: testTools })
  const files = filesNamed(words)
  lint()
  // Tests without Redis and Chromium measure nothing and share nothing: they run side by side.
  const ofUnits = files.filter(file => file.startsWith(join('dist', 'tests', 'unit')))
  const others = files.filter(file => !ofUnits.includes(file))
  console.log(`Running ${files.length} test ${files.length === 1 ? 'file' : 'files'}`)
  await runTests(ofUnits, availableParallelism())
  await runTests(
    others.filter(file => !aloneTests.test(file)),
    2
  )
  await runTests(
    others.filter(file => aloneTests.test(file)),
    1
  )
  if (words.length === 0) await runOnNewestServers()
  if (process.argv.includes('--retry')) await runFailedOnceMore()
} catch (error) {
  console.log(error.message)
  counts.failed++
}
console.log(`\n${summary(counts.passed, counts.failed, counts.skipped)}`)
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
    if (status !== 0) throw new Error('Lint failed, see above; `npm run format` mends the format')
  }
}

// `store` means the file store.ts in whichever folder; `cluster/` all files of a folder; where
// there is neither, every file with the word in its name.
function filesNamed(names) {
  const all = folders.flatMap(folder => testFilesIn(folder))
  const chosen = names.length === 0 ? all : names.flatMap(name => ofName(name, all))
  return [...new Set(chosen)].map(name => join('dist', 'tests', `${name}.js`))
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

async function runOnNewestServers() {
  const there = folders.flatMap(folder => testFilesIn(folder)).map(file => basename(file))
  const names = serverTests.filter(name => there.includes(name))
  if (names.length === 0) return
  const own = fetchServer(servers[0]).version
  const runs = []
  for (const { name, version, path, reason } of newestServers()) {
    if (path === undefined) {
      console.log(`Not run on ${name}: ${reason}`)
      counts.skipped++
    } else if (version !== own) {
      console.log(`Once more on ${name}`)
      runs.push(runTests(filesNamed(names), 1, { PATH: path, SHORT: '1' }, ` on ${name}`))
    }
  }
  await Promise.all(runs)
}

async function runFailedOnceMore() {
  const failedOnce = failures
  failures = []
  for (const { file, env, where, counted } of failedOnce) {
    console.log(`Once more, because it failed: ${basename(file, '.js')}${where}`)
    for (const outcome of Object.keys(counts)) counts[outcome] -= counted[outcome]
    await runTests([file], 1, env, where)
    if (!failures.some(failure => failure.file === file && failure.where === where)) {
      console.log(`Unsteady: ${basename(file, '.js')}${where} passed at the second try`)
    }
  }
}

async function runTests(files, atOnce, env = {}, where = '') {
  if (files.length === 0) return
  // comes with tap; not before the set-up has installed it
  const { Parser } = await import('tap-parser')
  const parser = new Parser()
  let counted = { passed: 0, failed: 0, skipped: 0 } // of the file that runs
  parser.on('child', file =>
    file.on('assert', test => {
      counted[test.skip || test.todo ? 'skipped' : test.ok ? 'passed' : 'failed']++
    })
  )
  show(parser, [])
  parser.on('assert', result => {
    endFile(result, counted, env, where)
    counted = { passed: 0, failed: 0, skipped: 0 }
  })
  const tap = spawn(
    process.execPath,
    [join(root, 'node_modules', '.bin', 'tap'), '--reporter=tap', `--jobs=${atOnce}`, ...files],
    { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] }
  )
  tap.stdout.pipe(parser)
  const status = await new Promise(resolve => tap.once('close', resolve))
  if (status !== 0 && failures.length === 0) throw new Error(`tap ended with status ${status}`)
}

function endFile({ ok, name, time }, counted, env, where) {
  if (!ok && counted.failed === 0) counted.failed++
  const { passed, failed, skipped } = counted
  const seconds = ((time ?? 0) / 1000).toFixed(1).padStart(6)
  console.log(
    `${failed === 0 ? '  ok  ' : 'FAILED'}${seconds} s  ${basename(name, '.js')}${where}: ${summary(passed, failed, skipped)}`
  )
  for (const outcome of Object.keys(counts)) counts[outcome] += counted[outcome]
  if (failed > 0) failures.push({ file: name, env, where, counted })
}

function summary(passed, failed, skipped) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

// Prints, as it comes, what tests say (t.comment) and each innermost result that failed: the "not
// ok" of a subtest around it only repeats it.
function show(parser, path, tellParent = () => {}) {
  let isShown = false
  parser.on('comment', text => {
    if (!isOfTap(text)) process.stdout.write(`        ${text.replace(/^# /, '')}`)
  })
  parser.on('child', child =>
    show(child, [...path, child.name], () => {
      isShown = true
      tellParent()
    })
  )
  parser.on('assert', result => {
    if (!result.ok && !result.skip && !result.todo && !isShown) {
      console.log(failureText([...path, result.name], result.diag))
      tellParent()
    }
    isShown = false
  })
}

// Notes that tap itself writes between the results.
function isOfTap(comment) {
  return /^# (Subtest|time=|\{ total|error thrown in teardown)/.test(comment)
}

function failureText(path, diag) {
  const { source, found, wanted, diff, at, stack, stdio, cwd, externalID, command, args, ...rest } =
    diag ?? {}
  const place = at?.fileName ? `${at.fileName}:${at.lineNumber}` : undefined
  const details = [
    place,
    diff ??
      (found !== undefined || wanted !== undefined
        ? `found ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`
        : undefined),
    Object.keys(rest).length > 0 ? JSON.stringify(rest, null, 2) : undefined,
    source,
    stack
  ]
  return [
    '',
    `not ok: ${path.join(' › ')}`,
    ...details.filter(detail => detail !== undefined).map(indent)
  ].join('\n')
}

function indent(text) {
  return String(text)
    .trimEnd()
    .split('\n')
    .map(line => `    ${line}`)
    .join('\n')
}
