// One Compose project for the tests. Its names, network and port are its own, so nothing else on
// the engine is touched, and it is removed with its volumes at the end. Everything goes through the
// `docker` command, so DOCKER_HOST and Docker's contexts work.
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Test } from 'tap'
// Only the types: traffic.js is a program.
import type { Orders, Report } from './traffic.js'

const FILE = fileURLToPath(new URL('../../../../compose/docker-compose.yml', import.meta.url))
const TRAFFIC = readFileSync(new URL('traffic.js', import.meta.url), 'utf8')

export const NODES = ['redis-1', 'redis-2', 'redis-3', 'redis-4', 'redis-5', 'redis-6'] as const

/** Valkey's images may have the client under Valkey's name only. */
const CLI = 'exec "$(command -v redis-cli || command -v valkey-cli)" "$@"'

/** Why the tests cannot run here; undefined when they can. */
export function whyNot(images: readonly string[]): string | undefined {
  if (spawnSync('docker', ['version']).status !== 0) {
    return 'no Docker engine answers (docker version)'
  }
  if (spawnSync('docker', ['compose', 'version']).status !== 0) {
    return 'docker compose is not installed'
  }
  const missing = images.filter(image => !isAvailable(image)).join(', ')
  if (missing === '') return undefined
  return `not here, and cannot be pulled: ${missing} (REDIS_IMAGE, NGINX_IMAGE, NODE_IMAGE name others)`
}

export function isAvailable(image: string): boolean {
  return (
    spawnSync('docker', ['image', 'inspect', image]).status === 0 ||
    spawnSync('docker', ['pull', '--quiet', image]).status === 0
  )
}

/** `output` holds standard output and standard error, `stdout` only the former. */
export type Ended = { readonly status: number; readonly output: string; readonly stdout: string }

export class Project {
  readonly name = `dialogs-test-${process.pid}`
  readonly image = `dialogs-test-${process.pid}`
  readonly #env: NodeJS.ProcessEnv

  constructor(t: Test, env: Readonly<Record<string, string>>) {
    this.#env = {
      ...process.env,
      DIALOGS_IMAGE: this.image,
      DIALOGS_PORT: '0',
      DIALOGS_SUBNET: randomSubnet(),
      ...env
    }
    t.teardown(async () => {
      await this.compose('down', '--volumes', '--timeout', '5')
      await docker(['image', 'rm', '--force', this.image])
    })
  }

  /** Changes all addresses from the next `up` on; only while the project is down. */
  move(): void {
    this.#env['DIALOGS_SUBNET'] = randomSubnet()
  }

  /** Runs `docker compose`; a failure is returned like any other result. */
  async compose(...args: string[]): Promise<Ended> {
    return await docker(
      ['compose', '--project-name', this.name, '--file', FILE, ...args],
      this.#env
    )
  }

  /**
   * Runs `docker compose` and returns its standard output.
   * @throws Error with all of its output when it fails
   */
  async succeed(...args: string[]): Promise<string> {
    const { status, output, stdout } = await this.compose(...args)
    if (status === 0) return stdout
    throw new Error(`docker compose ${args.join(' ')} ended with ${status}:\n${output}`)
  }

  /** Starts everything and waits until it is healthy. */
  async up(...options: string[]): Promise<Ended> {
    return await this.compose('up', '--detach', '--wait', '--wait-timeout', '300', ...options)
  }

  /**
   * Replaces a container, with these variables from now on, and waits until the new one is healthy.
   */
  async recreate(service: string, env: Readonly<Record<string, string>> = {}): Promise<void> {
    Object.assign(this.#env, env)
    const options = ['--no-deps', '--no-build', '--force-recreate', service]
    const { status, output } = await this.up(...options)
    if (status !== 0) throw new Error(output)
  }

  async removeVolume(node: string): Promise<void> {
    const { status, output } = await docker(['volume', 'rm', `${this.name}_${node}`])
    if (status !== 0) throw new Error(output)
  }

  /** Sends a command to a Redis node and returns its reply as text. */
  async redis(node: string, ...command: string[]): Promise<string> {
    const script = `REDISCLI_AUTH=$(cat /run/dialogs/redis-password)
      export REDISCLI_AUTH
      ${CLI}`
    return (await this.succeed('exec', '-T', node, 'sh', '-c', script, 'sh', ...command)).trim()
  }

  /** The same without a password: everything that is printed. */
  async redisWithoutPassword(node: string, ...command: string[]): Promise<string> {
    return (await this.compose('exec', '-T', node, 'sh', '-c', CLI, 'sh', ...command)).output
  }

  /** The nodes that are masters now; nodes that do not answer are left out. */
  async masters(): Promise<string[]> {
    const roles = await Promise.all(NODES.map(name => this.redis(name, 'role').catch(() => '')))
    return NODES.filter((_, index) => roles[index]?.startsWith('master') === true)
  }

  /** Whether a node is a replica that has everything its master has. */
  async hasCopy(node: string): Promise<boolean> {
    const info = await this.redis(node, 'info', 'replication').catch(() => '')
    return info.includes('master_link_status:up')
  }

  /** Runs a module inside a service container and returns what it prints. */
  async evaluate(script: string): Promise<string> {
    const command = ['node', '--input-type=module', '--eval', script]
    return await this.succeed('exec', '-T', 'service-1', ...command)
  }

  /** The sequences of all messages of a room, in the order in which `GET` returns them. */
  async read(room: string): Promise<number[]> {
    const printed = await this.evaluate(`const seqs = []
      for (;;) {
        const query = '?limit=1000&after=' + (seqs.at(-1) ?? 0)
        const answer = await fetch('http://127.0.0.1:8080/rooms/${room}/messages' + query)
        if (!answer.ok) throw new Error(await answer.text())
        const { messages } = await answer.json()
        if (messages.length === 0) break
        seqs.push(...messages.map(({ seq }) => seq))
      }
      console.log(JSON.stringify(seqs))`)
    return JSON.parse(printed) as number[]
  }

  /** Starts traffic through nginx. The returned function ends it and returns its report. */
  traffic(orders: Omit<Orders, 'url'>): () => Promise<Report> {
    const all: Orders = { url: 'http://nginx:8080', ...orders }
    const child = spawn('docker', [
      'run',
      '--rm',
      '--interactive',
      '--network',
      `${this.name}_dialogs`,
      this.image,
      'node',
      '--input-type=module',
      '--eval',
      TRAFFIC,
      JSON.stringify(all)
    ])
    let output = ''
    let errors = ''
    child.stdout.on('data', chunk => {
      output += String(chunk)
    })
    child.stderr.on('data', chunk => {
      errors += String(chunk)
    })
    const closed = new Promise<void>(resolve =>
      child.once('close', () => {
        resolve()
      })
    )
    return async () => {
      child.stdin.end()
      await closed
      if (output === '') throw new Error(`The traffic ended without a report: ${errors}`)
      return JSON.parse(output) as Report
    }
  }
}

export async function docker(args: readonly string[], env = process.env): Promise<Ended> {
  return await new Promise((resolve, reject) => {
    const child = spawn('docker', args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let stdout = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', chunk => {
        output += String(chunk)
      })
    }
    child.stdout.on('data', chunk => {
      stdout += String(chunk)
    })
    child.once('error', reject)
    child.once('close', status => {
      resolve({ status: status ?? 1, output, stdout })
    })
  })
}

// Out of 10.128.0.0/9, which is unlikely to be in use.
function randomSubnet(): string {
  return `10.${128 + Math.floor(Math.random() * 128)}.${Math.floor(Math.random() * 256)}`
}
