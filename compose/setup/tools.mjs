// The programs that are not node packages: Redis always, Chromium and nginx for the tests. A
// program that is installed is used as it is. A missing one is installed by the system's package
// manager; without the permission to install, the error names the command to run.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { step } from './step.mjs'

const redisVersionMin = 7

/** `isThere` is called before and after installing; `packages` lists names by package manager. */
const tools = {
  redis: {
    name: `redis-server ${redisVersionMin} or newer and redis-cli`,
    isThere: () =>
      ['redis', 'valkey'].some(
        name => versionOf(`${name}-server`) >= redisVersionMin && has(`${name}-cli`)
      ),
    packages: {
      'apt-get': ['redis-server', 'redis-tools'],
      dnf: ['redis'],
      apk: ['redis'],
      brew: ['redis']
    }
  },
  chromium: {
    name: 'Chromium',
    isThere: () =>
      ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'].some(has),
    packages: { 'apt-get': ['chromium'], dnf: ['chromium'], apk: ['chromium'], brew: ['chromium'] }
  },
  nginx: {
    name: 'nginx',
    isThere: () => has('nginx'),
    packages: { 'apt-get': ['nginx'], dnf: ['nginx'], apk: ['nginx'], brew: ['nginx'] }
  },
  nchan: {
    // a peer in the benchmarks
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

// A separate script for apt, because its packages start their services.
const aptInstall = fileURLToPath(new URL('apt-install.sh', import.meta.url))

/** Installs those of the named tools that are missing, all at once. */
export async function ensureTools(names) {
  const missing = names.map(name => tools[name]).filter(tool => !tool.isThere())
  if (missing.length === 0) return
  const what = missing.map(tool => tool.name).join(', ')
  const manager = Object.keys(managers).find(has)
  if (manager === undefined) {
    const known = Object.keys(managers).join(', ')
    throw new Error(`Missing: ${what}. Install by hand: none of ${known} is on this machine`)
  }

  const unknown = missing.find(tool => tool.packages[manager] === undefined)
  if (unknown !== undefined) {
    throw new Error(`${unknown.name} is not among this system's packages: install it by hand`)
  }
  const packages = missing.flatMap(tool => tool.packages[manager])
  const byHand = [manager, ...managers[manager], ...packages]
  const prefix = manager === 'brew' || process.getuid?.() === 0 ? [] : sudo()
  if (prefix === undefined) {
    throw new Error(`Missing: ${what}. You may not install here, so run: sudo ${byHand.join(' ')}`)
  }
  const [command, ...args] = [
    ...prefix,
    ...(manager === 'apt-get' ? ['sh', aptInstall, ...packages] : byHand)
  ]
  await step(`Installing ${what} (${manager}: ${packages.join(' ')})`, command, args)

  const still = missing.filter(tool => !tool.isThere())
  if (still.length > 0) {
    const names = still.map(tool => tool.name).join(', ')
    throw new Error(`This system's packages do not give ${names}: install it by hand`)
  }
}

// Undefined if sudo is not installed or would ask for a password.
function sudo() {
  return spawnSync('sudo', ['-n', 'true']).status === 0 ? ['sudo', '-n'] : undefined
}

function versionOf(server) {
  if (!has(server)) return 0
  const { stdout } = spawnSync(server, ['--version'], { encoding: 'utf8' })
  return Number(/\bv=(\d+)\./.exec(stdout)?.[1] ?? 0)
}

/**
 * The path of an nginx module, in the folder where nginx looks for modules; undefined if it is not
 * installed.
 */
export function nginxModule(name) {
  const { stderr } = spawnSync('nginx', ['-V'], {
    env: { PATH: folders().join(delimiter) },
    encoding: 'utf8'
  })
  const folder = /--modules-path=(\S+)/.exec(stderr ?? '')?.[1]
  const file = folder === undefined ? undefined : join(folder, name)
  return file !== undefined && existsSync(file) ? file : undefined
}

function has(command) {
  return folders().some(folder => isExecutable(join(folder, command)))
}

// A user's PATH often lacks the system folders where Debian puts nginx.
function folders() {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
