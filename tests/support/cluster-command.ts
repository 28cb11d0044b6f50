// Runs the cluster command in a process of its own on a test's cluster, with arguments, output and
// signals.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'
import { until } from './until.js'
import { program } from './program.js'

const SCRIPT = program('cli/cluster')

/** REDIS_NODES or DATA_DIR, and other settings. */
export type Env = Readonly<Record<string, string>>

export class ClusterCommand {
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  output = ''
  errors = ''

  constructor(t: Test, env: Env, ...words: string[]) {
    this.#child = spawn(process.execPath, ['--enable-source-maps', SCRIPT, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], ...env }
    })
    this.#ended = once(this.#child, 'close')
    this.#child.stdout?.on('data', chunk => {
      this.output += String(chunk)
    })
    this.#child.stderr?.on('data', chunk => {
      this.errors += String(chunk)
    })
    t.teardown(() => this.#child.kill('SIGKILL'))
  }

  /** Waits until it has ended. @returns its exit status; null after SIGKILL */
  async status(): Promise<number | null> {
    await this.#ended
    return this.#child.exitCode
  }

  /** As `… | head` does. Its output so far may be lost. */
  closeOutput(): void {
    this.#child.stdout?.destroy()
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Waits until it has moved some slots and has some left to move. */
  async isUnderWay(): Promise<void> {
    await until(
      'it is moving slots',
      () => / [1-9][\d,]* of [\d,]+ slots/.test(this.errors),
      60_000
    )
  }
}

export type Ended = {
  readonly status: number | null
  readonly output: string
  readonly errors: string
}

/** Runs it to its end, without asking for confirmation. */
export async function runCluster(t: Test, env: Env, ...words: string[]): Promise<Ended> {
  const command = new ClusterCommand(t, env, ...words)
  const status = await command.status()
  return { status, output: command.output, errors: command.errors }
}
