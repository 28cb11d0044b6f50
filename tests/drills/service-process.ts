// A service process: the compiled main.js on a port of its own, which it keeps over restarts so that clients find it again.
// It may be ended by any signal and started again. Decides nothing about when.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

// This file is dist/tests/drills/service-process.js when it runs.
const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url))

const ERRORS_LENGTH_MAX = 65_536

export type ServiceSettings = {
  readonly port: number
  readonly redisUrls: readonly string[]
  /** Settings of the service by their environment names. */
  readonly env?: Readonly<Record<string, string>>
  /** Options of Node itself. */
  readonly nodeOptions?: readonly string[]
}

export class ServiceProcess {
  readonly url: string
  readonly #settings: ServiceSettings
  #child: ChildProcess | undefined
  #errors = ''

  constructor (settings: ServiceSettings) {
    this.#settings = settings
    this.url = `http://127.0.0.1:${settings.port}`
  }

  get isRunning (): boolean {
    return this.#child !== undefined
  }

  get pid (): number | undefined {
    return this.#child?.pid
  }

  /** The end of what it has written to standard error, over all its starts. */
  get errors (): string {
    return this.#errors
  }

  /** Resolves when it answers. @throws Error with its own words when it ends before that */
  async start (): Promise<void> {
    const { port, redisUrls, env, nodeOptions = [] } = this.#settings
    const child = spawn(process.execPath, ['--enable-source-maps', ...nodeOptions, MAIN], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], HOST: '127.0.0.1', PORT: String(port), REDIS_NODES: redisUrls.join(','), ...env }
    })
    this.#child = child
    child.once('exit', () => { if (this.#child === child) this.#child = undefined })
    child.stderr.on('data', chunk => { this.#errors = (this.#errors + String(chunk)).slice(-ERRORS_LENGTH_MAX) })
    for await (const line of createInterface({ input: child.stdout })) {
      if (!line.startsWith('Dialogs is ready')) continue
      child.stdout.resume()
      return
    }
    throw new Error(`The service on port ${port} did not start: ${this.#errors}`)
  }

  /** Sends the signal and answers the exit status, null when it died of the signal or was not running. */
  async end (signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (child === undefined) return null
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
    return child.exitCode
  }
}
