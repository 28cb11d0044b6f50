// A small project for the tests of the set-up scripts. Its npm, tsc, Redis and package manager are
// scripts that record their calls. Its PATH contains nothing else.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { temporaryDir } from './embedded.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))
export const redis7 = 'echo "Redis server v=7.2.4 sha=0"'

type Run = {
  readonly args?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  readonly asNobody?: boolean
  readonly hasRealPath?: boolean
}

export class Project {
  readonly #dir: string

  constructor(dir: string) {
    this.#dir = dir
  }

  path(name: string): string {
    return join(this.#dir, name)
  }

  write(name: string, content: string): void {
    mkdirSync(dirname(this.path(name)), { recursive: true })
    writeFileSync(this.path(name), content)
  }

  /** Puts a command on the PATH that records its call and then runs the script. */
  command(name: string, script: string): void {
    this.write(`bin/${name}`, `#!/bin/sh\necho "${name} $*" >> ${this.path('calls')}\n${script}\n`)
    chmodSync(this.path(`bin/${name}`), 0o755)
  }

  /** The calls since the last time, except those that only ask for versions or permissions. */
  calls(): string[] {
    if (!existsSync(this.path('calls'))) return []
    const calls = readFileSync(this.path('calls'), 'utf8')
      .trimEnd()
      .split('\n')
      .map(call => call.trimEnd())
    rmSync(this.path('calls'))
    return calls.filter(call => !call.endsWith('--version') && !call.startsWith('sudo'))
  }

  async run(
    script: string,
    { args = [], env = {}, asNobody = false, hasRealPath = false }: Run = {}
  ): Promise<{ status: unknown; output: string }> {
    const isRoot = process.getuid?.() === 0
    const { PATH, HOME } = process.env
    // tap makes every Node process of a test load a module, which writes to places that another
    // user may not write to.
    const child = spawn(
      '/usr/bin/env',
      ['--unset=NODE_OPTIONS', process.execPath, join('compose', 'setup', script), ...args],
      {
        cwd: this.#dir,
        env: { ...env, HOME, PATH: hasRealPath ? PATH : this.path('bin') },
        stdio: ['ignore', 'pipe', 'pipe'],
        ...(asNobody && isRoot ? { uid: 65_534, gid: 65_534 } : {})
      }
    )
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    const [status]: unknown[] = await once(child, 'close')
    return { status, output }
  }
}

export function makeProject(t: Test): Project {
  const dir = temporaryDir(t)
  chmodSync(dir, 0o755)
  const project = new Project(dir)
  cpSync(join(root, 'compose'), project.path('compose'), { recursive: true })
  const packages = {
    '': {},
    'node_modules/a': { version: '1.0.0' },
    'node_modules/b': { version: '1.0.0', optional: true }
  }
  project.write('package.json', '{ "type": "module" }')
  project.write('package-lock.json', JSON.stringify({ packages }))
  project.write(
    'node_modules/.package-lock.json',
    JSON.stringify({ packages: { 'node_modules/a': { version: '1.0.0' } } })
  )
  project.write('tsconfig.json', '{}')
  project.write('web/tsconfig.json', '{}')
  project.write('web/bundle.mjs', '')
  project.write('src/main.ts', '')
  project.write(
    'src/bundle.mjs',
    "import { cpSync } from 'node:fs'\ncpSync('dist/src/main.js', 'dist/service/main.js')\n"
  )
  project.write('tests/unit/a.ts', '')
  project.write('service.js', '')
  // A stand-in for TypeScript's compiler: it records its call, and "builds" service.js.
  project.write('node_modules/typescript/package.json', '{ "type": "commonjs" }')
  project.write(
    'node_modules/typescript/bin/tsc',
    `
    const { appendFileSync, cpSync } = require('fs')
    appendFileSync('calls', ['tsc', ...process.argv.slice(2)].join(' ') + '\\n')
    cpSync('service.js', 'dist/src/main.js')`
  )
  project.command('npm', '')
  project.command('redis-server', redis7)
  project.command('redis-cli', 'echo "redis-cli 7.2.4"')
  return project
}

// A project with the real packages and tools. Its only tests are those that the caller writes.
export function makeRealProject(t: Test): Project {
  const project = new Project(temporaryDir(t))
  for (const name of [
    'compose',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'eslint.config.js',
    '.prettierrc.json',
    '.prettierignore',
    '.taprc',
    'web/tsconfig.json'
  ]) {
    cpSync(join(root, name), project.path(name), { recursive: true })
  }
  project.write('src/bundle.mjs', '')
  project.write('web/page.ts', 'export const page = 1\n')
  project.write('web/bundle.mjs', '')
  symlinkSync(join(root, 'node_modules'), project.path('node_modules'))
  return project
}
