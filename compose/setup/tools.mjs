// The programs that are not node packages: Redis always, Chromium and nginx for the tests. What is there is taken as it is; what is
// missing is installed by the system's package manager where there is a right to, and otherwise the line to run is said.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { step } from './step.mjs'

const redisVersionMin = 7

/** `isThere` is asked before and after installing; `packages` are their names by package manager. */
const tools = {
  redis: {
    name: `redis-server ${redisVersionMin} or newer and redis-cli`,
    isThere: () => ['redis', 'valkey'].some(name => versionOf(`${name}-server`) >= redisVersionMin && has(`${name}-cli`)),
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
  },
  nchan: { // a peer in the benchmarks
    name: 'nginx with its module Nchan',
    isThere: () => nginxModule('ngx_nchan_module.so') !== undefined,
    packages: { 'apt-get': ['nginx', 'libnginx-mod-nchan'], apk: ['nginx', 'nginx-mod-http-nchan'] }
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

  const unknown = missing.find(tool => tool.packages[manager] === undefined)
  if (unknown !== undefined) throw new Error(`${unknown.name} is not among this system's packages: install it by hand`)
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

function versionOf (server) {
  if (!has(server)) return 0
  const { stdout } = spawnSync(server, ['--version'], { encoding: 'utf8' })
  return Number(/\bv=(\d+)\./.exec(stdout)?.[1] ?? 0)
}

/** The file of a module of nginx, in the folder where the nginx that is here looks for them; undefined when there is none. */
export function nginxModule (name) {
  const { stderr } = spawnSync('nginx', ['-V'], { env: { PATH: folders().join(delimiter) }, encoding: 'utf8' })
  const folder = /--modules-path=(\S+)/.exec(stderr ?? '')?.[1]
  const file = folder === undefined ? undefined : join(folder, name)
  return file !== undefined && existsSync(file) ? file : undefined
}

function has (command) {
  return folders().some(folder => isExecutable(join(folder, command)))
}

// A user's PATH often lacks the folders for administrators, where Debian puts nginx.
function folders () {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
}

function isExecutable (file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
