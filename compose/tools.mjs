// The programs that are not node packages: Redis always, Chromium and nginx for the tests. What is there is taken as it is; what is
// missing is installed by the system's package manager where there is a right to, and otherwise the line to run is said.

import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { step } from './step.mjs'

const redisVersionMin = 7

/** `isThere` is asked before and after installing; `packages` are their names by package manager. */
const tools = {
  redis: {
    name: `redis-server ${redisVersionMin} or newer and redis-cli`,
    isThere: () => redisVersion() >= redisVersionMin && has('redis-cli'),
    packages: { 'apt-get': ['redis-server', 'redis-tools'], dnf: ['redis'], apk: ['redis'], brew: ['redis'] }
  },
  chromium: {
    name: 'Chromium',
    isThere: () => ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'].some(has),
    packages: { 'apt-get': ['chromium'], dnf: ['chromium'], apk: ['chromium'], brew: ['chromium'] }
  },
  nginx: {
    name: 'nginx',
    isThere: () => has('nginx'),
    packages: { 'apt-get': ['nginx'], dnf: ['nginx'], apk: ['nginx'], brew: ['nginx'] }
  }
}

const managers = {
  'apt-get': ['install', '--yes'],
  dnf: ['install', '--assumeyes'],
  apk: ['add'],
  brew: ['install'] // for everyone; it refuses to be root
}

// A script of its own for apt: its packages start their services.
const aptInstall = fileURLToPath(new URL('apt-install.sh', import.meta.url))

/** Installs what is missing of the tools named, in one go. */
export async function ensureTools (names) {
  const missing = names.map(name => tools[name]).filter(tool => !tool.isThere())
  if (missing.length === 0) return
  const what = missing.map(tool => tool.name).join(', ')
  const manager = Object.keys(managers).find(has)
  if (manager === undefined) throw new Error(`Missing: ${what}. Install by hand: none of ${Object.keys(managers).join(', ')} is here`)

  const packages = missing.flatMap(tool => tool.packages[manager])
  const byHand = [manager, ...managers[manager], ...packages]
  const prefix = manager === 'brew' || process.getuid?.() === 0 ? [] : sudo()
  if (prefix === undefined) throw new Error(`Missing: ${what}. There is no right to install here, so run: sudo ${byHand.join(' ')}`)
  const [command, ...args] = [...prefix, ...(manager === 'apt-get' ? ['sh', aptInstall, ...packages] : byHand)]
  await step(`Installing ${what} (${manager}: ${packages.join(' ')})`, command, args)

  const still = missing.filter(tool => !tool.isThere())
  if (still.length > 0) throw new Error(`${still.map(tool => tool.name).join(', ')} is not what this system's packages give: install it by hand`)
}

// undefined when sudo is not here or would ask for a password.
function sudo () {
  return spawnSync('sudo', ['-n', 'true']).status === 0 ? ['sudo', '-n'] : undefined
}

function redisVersion () {
  if (!has('redis-server')) return 0
  const { stdout } = spawnSync('redis-server', ['--version'], { encoding: 'utf8' })
  return Number(/\bv=(\d+)\./.exec(stdout)?.[1] ?? 0)
}

function has (command) {
  // A user's PATH often lacks the folders for administrators, where Debian puts nginx.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  return folders.some(folder => isExecutable(join(folder, command)))
}

function isExecutable (file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
