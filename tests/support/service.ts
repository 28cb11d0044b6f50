// A service process for tests: the compiled main.ts on a free port, ended with the test. What it writes to standard error is shown
// when a start fails, and kept for assertions.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url))

export type ServiceOptions = {
  /** URLs; leave out for an embedded cluster (then give DATA_DIR in env). */
  readonly redisNodes?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export class Service {
  readonly #options: ServiceOptions
  #child: ChildProcess | undefined
  #url = ''
  #errors = ''
  #output = ''

  constructor (options: ServiceOptions) {
    this.#options = options
  }

  get url (): string { return this.#url }
  get pid (): number { return this.#child?.pid ?? 0 }
  /** What the process has written to standard error so far. */
  get errors (): string { return this.#errors }
  get output (): string { return this.#output }

  /** Starts it; after the first time on the same port as before, so that clients find it again. */
  async start (): Promise<void> {
    const { redisNodes, env } = this.#options
    const child = spawn(process.execPath, ['--enable-source-maps', MAIN], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        HOST: '127.0.0.1',
        PORT: this.#url === '' ? '0' : new URL(this.#url).port,
        DRAIN_MS: '200',
        ...(redisNodes === undefined ? {} : { REDIS_NODES: redisNodes.join(',') }),
        ...env
      }
    })
    this.#child = child
    child.stderr.on('data', chunk => { this.#errors += String(chunk) })
    for await (const line of createInterface({ input: child.stdout })) {
      this.#output += `${line}\n`
      const url = /The page: (\S+)\/chat\?/.exec(line)?.[1]
      if (url === undefined) continue
      this.#url = url
      child.stdout.resume()
      return
    }
    throw new Error(`The service did not start: ${this.#errors}`)
  }

  /** Ends it by a signal and answers its exit code (null after SIGKILL). */
  async end (signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
    return child.exitCode
  }

  stop (): Promise<number | null> { return this.end('SIGTERM') }
  kill (): Promise<number | null> { return this.end('SIGKILL') }

  async restart (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.end(signal)
    await this.start()
  }
}

export async function startService (t: Test, options: ServiceOptions): Promise<Service> {
  const service = new Service(options)
  t.teardown(() => service.kill())
  await service.start()
  return service
}
