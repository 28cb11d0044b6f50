// A service process: main.ts, bundled or else compiled, on a port that it keeps over restarts so
// that clients find it again. It can be ended with any signal and started again. What it writes to
// standard error is shown if a start fails, and kept for assertions.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { asServiceUser, LOOPBACK, type NodePlace } from '../../src/embedded/redis-conf.js'
import { program } from './program.js'

const MAIN = program('main')

const OUTPUT_LENGTH_MAX = 1_000_000

export type ServiceOptions = {
  /**
   * URLs. Leave it out for an embedded cluster, and set DATA_DIR in env. URLs without a user are
   * those of embedded nodes: the service then logs in with the least permissions.
   */
  readonly redisNodes?: readonly string[]
  /** Default: a free one, taken at the first start. */
  readonly port?: number
  /** Where it runs; by default here, on loopback. */
  readonly place?: NodePlace
  /** Settings of the service by their environment names. */
  readonly env?: Readonly<Record<string, string>>
  /** Options of Node itself. */
  readonly nodeOptions?: readonly string[]
}

export class Service {
  readonly #options: ServiceOptions
  #child: ChildProcess | undefined
  #url: string
  #errors = ''
  #output = ''

  constructor(options: ServiceOptions) {
    this.#options = options
    this.#url =
      options.port === undefined ? '' : `http://${(options.place ?? LOOPBACK).host}:${options.port}`
  }

  /** Known after the first start; if a port was given, from the beginning. */
  get url(): string {
    return this.#url
  }
  /** undefined while it does not run. */
  get pid(): number | undefined {
    return this.#child?.pid
  }
  get isRunning(): boolean {
    return this.#child !== undefined
  }
  /** The end of what it has written to standard error, over all its starts. */
  get errors(): string {
    return this.#errors
  }
  /** The end of what it has written to standard output, over all its starts. */
  get output(): string {
    return this.#output
  }

  /** Resolves when it is ready. @throws Error with its output when it ends before that */
  async start(): Promise<void> {
    const { redisNodes, env, nodeOptions = [], place = LOOPBACK } = this.#options
    const [command = process.execPath, ...args] = [
      ...place.within,
      process.execPath,
      '--enable-source-maps',
      ...nodeOptions,
      MAIN
    ]
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        HOST: place.host,
        PORT: this.#url === '' ? '0' : new URL(this.#url).port,
        ...(redisNodes === undefined
          ? {}
          : {
              REDIS_NODES: redisNodes
                .map(url => (url.includes('@') ? url : asServiceUser(url)))
                .join(',')
            }),
        ...env
      }
    })
    this.#child = child
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined
    })
    child.stderr.on('data', chunk => {
      this.#errors = (this.#errors + String(chunk)).slice(-OUTPUT_LENGTH_MAX)
    })
    const lines = createInterface({ input: child.stdout })
    await new Promise<void>((resolve, reject) => {
      lines.on('line', line => {
        this.#output = `${this.#output}${line}\n`.slice(-OUTPUT_LENGTH_MAX)
        const url = /The page: (\S+)\/chat\?/.exec(line)?.[1]
        if (url === undefined) return
        this.#url = url
        resolve()
      })
      lines.once('close', () => {
        reject(new Error(`The service did not start: ${this.#errors}`))
      })
    })
  }

  /**
   * Ends it with a signal. Returns its exit status: null if the signal killed it, or if it was not
   * running.
   */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (child === undefined) return null
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
    return child.exitCode
  }

  stop(): Promise<number | null> {
    return this.end('SIGTERM')
  }
  kill(): Promise<number | null> {
    return this.end('SIGKILL')
  }

  async restart(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.end(signal)
    await this.start()
  }
}

/** A service for a test: it stops quickly, and ends with the test. */
export async function startService(t: Test, options: ServiceOptions): Promise<Service> {
  const service = new Service({ ...options, env: { DRAIN_MS: '200', ...options.env } })
  t.teardown(() => service.kill())
  await service.start()
  return service
}
