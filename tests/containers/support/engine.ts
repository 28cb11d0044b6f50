// One Compose project for the tests: names, network and port of its own, so that nothing else on the engine is touched, and
// removed with its volumes at the end. Everything is said by the `docker` command, so that DOCKER_HOST and contexts work.
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Orders, Report } from './traffic.js'

const root = fileURLToPath(new URL('../../../../', import.meta.url))
const TRAFFIC = readFileSync(new URL('traffic.js', import.meta.url), 'utf8')

/** Why the tests cannot run here; undefined when they can. */
export function whyNot (images: readonly string[]): string | undefined {
  if (spawnSync('docker', ['version']).status !== 0) return 'no Docker engine answers (docker version)'
  if (spawnSync('docker', ['compose', 'version']).status !== 0) return 'docker compose is not installed'
  const missing = images.filter(image => !isAvailable(image))
  return missing.length === 0 ? undefined : `these images can neither be found nor pulled: ${missing.join(', ')}`
}

export function isAvailable (image: string): boolean {
  return spawnSync('docker', ['image', 'inspect', image]).status === 0 || spawnSync('docker', ['pull', '--quiet', image]).status === 0
}

/** `output` is everything, `stdout` only what a program answers. */
export type Ended = { readonly status: number, readonly output: string, readonly stdout: string }

export class Project {
  readonly name = `dialogs-test-${process.pid}`
  readonly #image = `dialogs-test-${process.pid}`
  readonly #env: NodeJS.ProcessEnv

  constructor (t: Test, env: Readonly<Record<string, string>> = {}) {
    this.#env = {
      ...process.env,
      DIALOGS_IMAGE: this.#image,
      DIALOGS_PORT: '0',
      DIALOGS_SUBNET: randomSubnet(),
      ...env
    }
    t.teardown(async () => {
      await this.compose('down', '--volumes', '--timeout', '5')
      await docker(['image', 'rm', '--force', this.#image])
    })
  }

  get image (): string { return this.#image }

  /** Gives everything other addresses from the next `up` on; only while it is down. */
  move (): void {
    this.#env['DIALOGS_SUBNET'] = randomSubnet()
  }

  /** Runs `docker compose` on the project and answers how it ended, whatever came of it. */
  async compose (...args: string[]): Promise<Ended> {
    return await docker(['compose', '--project-name', this.name, '--file', `${root}compose/docker-compose.yml`, ...args], this.#env)
  }

  /** @throws Error with the output when it fails */
  async succeed (...args: string[]): Promise<string> {
    const { status, output, stdout } = await this.compose(...args)
    if (status !== 0) throw new Error(`docker compose ${args.join(' ')} ended with ${status}:\n${output}`)
    return stdout
  }

  /** Makes a service anew, with other images where these are given, and waits until it is healthy. */
  async recreate (service: string, env: Readonly<Record<string, string>> = {}): Promise<void> {
    Object.assign(this.#env, env)
    await this.succeed('up', '--detach', '--no-deps', '--no-build', '--force-recreate', '--wait', '--wait-timeout', '120', service)
  }

  /** A Redis command on a node; what it answers. */
  async redis (node: string, ...command: string[]): Promise<string> {
    const args = ['exec', '-T', node, 'sh', '-c', 'REDISCLI_AUTH=$(cat /run/dialogs/redis-password) exec redis-cli "$@"', 'sh', ...command]
    return (await this.succeed(...args)).trim()
  }

  /** Which nodes are masters now. */
  async masters (): Promise<string[]> {
    const roles = await Promise.all(NODES.map(name => this.redis(name, 'role').catch(() => '')))
    return NODES.filter((_, index) => roles[index]?.startsWith('master') === true)
  }

  /** Every acknowledged message of a room, by `GET`, inside the network. */
  async read (room: string): Promise<number[]> {
    const script = `const seqs = []
      for (;;) {
        const answer = await fetch('http://127.0.0.1:8080/rooms/${room}/messages?limit=1000&after=' + (seqs.at(-1) ?? 0))
        if (!answer.ok) { console.error(await answer.text()); process.exit(1) }
        const { messages } = await answer.json()
        if (messages.length === 0) break
        seqs.push(...messages.map(({ seq }) => seq))
      }
      console.log(JSON.stringify(seqs))`
    return JSON.parse(await this.succeed('exec', '-T', 'service-1', 'node', '--input-type=module', '--eval', script)) as number[]
  }

  /** Starts traffic through nginx; the function that is answered ends it and says what it saw. */
  traffic (orders: Omit<Orders, 'url'>): () => Promise<Report> {
    const all: Orders = { url: 'http://nginx:8080', ...orders }
    const child = spawn('docker', [
      'run', '--rm', '--interactive', '--network', `${this.name}_dialogs`, this.#image,
      'node', '--input-type=module', '--eval', TRAFFIC, JSON.stringify(all)
    ], { stdio: ['pipe', 'pipe', 'pipe'] })
    let output = ''
    let errors = ''
    child.stdout.on('data', chunk => { output += String(chunk) })
    child.stderr.on('data', chunk => { errors += String(chunk) })
    const closed = new Promise<void>(resolve => child.once('close', () => { resolve() }))
    return async () => {
      child.stdin.end()
      await closed
      if (output === '') throw new Error(`The traffic ended without a report: ${errors}`)
      return JSON.parse(output) as Report
    }
  }
}

// Out of 10.128.0.0/9, which is unlikely to be in use.
function randomSubnet (): string {
  return `10.${128 + Math.floor(Math.random() * 128)}.${Math.floor(Math.random() * 256)}`
}

export const NODES = ['redis-1', 'redis-2', 'redis-3', 'redis-4', 'redis-5', 'redis-6'] as const

export async function docker (args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ended> {
  return await new Promise((resolve, reject) => {
    const child = spawn('docker', args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let stdout = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => { output += String(chunk) })
    child.stdout.on('data', chunk => { stdout += String(chunk) })
    child.once('error', reject)
    child.once('close', status => { resolve({ status: status ?? 1, output, stdout }) })
  })
}
