// One redis-server process with its own folder: its configuration, data and log. It can be killed
// and started again on the same port with the same data. It knows nothing of its cluster.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { commandOf, end, isErrno, SIGNAL_AGAIN_MS } from './processes.js'
import { confFileOf, logFileOf, type NodeSettings, pidFileOf, redisConf } from './redis-conf.js'

/** Replaying an append-only file takes about 10 s per GB. */
const READY_MS_MAX = 120_000
const ANSWER_MS_MAX = 2_000
const STOP_MS_MAX = 5_000

export class EmbeddedNode {
  readonly port: number
  readonly dir: string
  readonly #settings: NodeSettings
  readonly #command: string
  readonly #report: (line: string) => void
  #child: ChildProcess | undefined
  #ended = Promise.resolve()
  #wasReady = false
  #isEndWanted = false

  constructor(command: string, settings: NodeSettings, report: (line: string) => void) {
    this.port = settings.port
    this.dir = settings.dir
    this.#settings = settings
    this.#command = command
    this.#report = report
  }

  get url(): string {
    return `redis://${this.host}:${this.port}`
  }

  get host(): string {
    return this.#settings.place.host
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  get isRunning(): boolean {
    return this.#child !== undefined
  }

  /** Starts the process unless it runs, and resolves when it answers and has loaded its data. */
  async start(): Promise<void> {
    if (this.#child === undefined) this.#spawn()
    const deadline = Date.now() + READY_MS_MAX
    while (!(await answersPing(this.host, this.port))) {
      if (!this.isRunning) {
        throw new Error(
          `redis-server on port ${this.port} did not start: ${lastLine(logFileOf(this.dir))}. If files in ${this.dir} are damaged, put back a backup, or move the folder away and replace it with the data of other nodes: npm run accept-loss -- --yes`
        )
      }
      if (Date.now() >= deadline) {
        throw new Error(
          `redis-server on port ${this.port} was not ready within ${READY_MS_MAX / 1000} s, see ${logFileOf(this.dir)}`
        )
      }
      await sleep(10)
    }
    this.#wasReady = true
  }

  /** Lets the process outlive this one. Its owner finds it by its folder. */
  leave(): void {
    this.#child?.unref()
  }

  /**
   * Sends a signal. For SIGKILL and SIGTERM it resolves when the process has ended, otherwise at
   * once.
   */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    if (signal !== 'SIGKILL' && signal !== 'SIGTERM') {
      child.kill(signal)
      return
    }
    this.#isEndWanted = true
    const send = () => {
      child.kill(signal)
      child.kill('SIGCONT') // one that is paused (SIGSTOP) could not act on SIGTERM
    }
    send()
    const again = setInterval(send, SIGNAL_AGAIN_MS)
    await this.#ended
    clearInterval(again)
  }

  /** SIGTERM, so that the append-only file is written out; SIGKILL if that takes too long. */
  async stop(): Promise<void> {
    const tooLong = setTimeout(() => {
      this.#child?.kill('SIGKILL')
    }, STOP_MS_MAX)
    await this.kill('SIGTERM')
    clearTimeout(tooLong)
  }

  // In a process group of its own, so that Ctrl-C in the terminal reaches only the service, which
  // needs Redis while it drains.
  #spawn(): void {
    mkdirSync(this.dir, { recursive: true })
    writeFileSync(confFileOf(this.dir), redisConf(this.#settings))
    // For what Redis prints before it has read its configuration.
    const log = openSync(logFileOf(this.dir), 'a')
    const [command = this.#command, ...args] = [
      ...this.#settings.place.within,
      this.#command,
      confFileOf(this.dir)
    ]
    const child = spawn(command, args, {
      cwd: this.dir,
      detached: true,
      stdio: ['ignore', log, log]
    })
    closeSync(log)
    this.#child = child
    this.#wasReady = false
    this.#isEndWanted = false
    child.once('exit', (code, signal) => {
      // Until it is ready, start() reports what goes wrong.
      if (!this.#wasReady || this.#isEndWanted) return
      // Exit status 0: it was asked to end, as `npm run cluster -- remove` does.
      this.#report(
        code === 0
          ? `redis-server on port ${this.port} was stopped`
          : `redis-server on port ${this.port} ended by itself (${signal ?? code}), see ${logFileOf(this.dir)}`
      )
    })
    this.#ended = new Promise(resolve => {
      for (const event of ['exit', 'error']) {
        // `error`: it could not be started at all.
        child.once(event, () => {
          this.#child = undefined
          resolve()
        })
      }
    })
  }
}

/** The process id of the redis-server that runs in this folder, whoever started it. */
export function pidIn(dir: string): number | undefined {
  const pid = readPid(dir)
  return pid !== undefined && commandOf(pid)?.endsWith(` ${confFileOf(dir)}`) === true
    ? pid
    : undefined
}

/**
 * Ends a redis-server that a killed service left running in this folder. Returns whether there was
 * one.
 */
export async function endOrphan(dir: string): Promise<boolean> {
  const pid = pidIn(dir)
  if (pid === undefined) return false
  await end(pid, STOP_MS_MAX)
  return true
}

// Asks in Redis's inline protocol, because loading the client library first would take longer than
// all nodes need to boot. A node that is loading its data answers with an error.
function answersPing(host: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ port, host })
    socket.setTimeout(ANSWER_MS_MAX, () => socket.destroy())
    socket.once('connect', () => socket.write('PING\r\n'))
    socket.once('data', answer => {
      resolve(answer.toString().startsWith('+PONG'))
      socket.destroy()
    })
    socket.on('error', () => {}) // not listening yet; it is closed next
    socket.once('close', () => resolve(false))
  })
}

function readPid(dir: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(pidFileOf(dir), 'utf8'), 10) || undefined
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

function lastLine(file: string): string {
  return readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) ?? 'its log is empty'
}
