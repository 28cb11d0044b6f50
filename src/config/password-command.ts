// A password that a command prints, such as a token of a cloud provider that expires. The command
// runs when the first connection is opened, when its password is older than allowed, and when Redis
// has refused it. It never runs twice at a time, and at most once a second. While it fails, its
// last password stays in use.
import { spawn } from 'node:child_process'
import { type PasswordSource } from '../redis/password.js'

export type PasswordCommandOptions = {
  /** For how long a password is used for new connections. Default 5 minutes. */
  readonly maxAgeMs?: number
  /** A command that takes longer is killed, with all that it started. Default 10 s. */
  readonly timeoutMs?: number
}

/** Tokens of the known providers are good for 15 minutes at least. */
const MAX_AGE_MS = 5 * 60_000
const OUTPUT_BYTES_MAX = 64 * 1024
const RERUN_MS_MIN = 1000
const TIMEOUT_MS = 10_000

export class PasswordCommand implements PasswordSource {
  readonly #command: string
  readonly #maxAgeMs: number
  readonly #timeoutMs: number
  #password: string | undefined
  /** When the password was printed. */
  #printedMs = -Infinity
  #begunMs = -Infinity
  #last: Promise<string> | undefined
  #isRunning = false

  /** @param command is given to /bin/sh */
  constructor(
    command: string,
    { maxAgeMs = MAX_AGE_MS, timeoutMs = TIMEOUT_MS }: PasswordCommandOptions = {}
  ) {
    this.#command = command
    this.#maxAgeMs = maxAgeMs
    this.#timeoutMs = timeoutMs
  }

  /** @throws Error that names the setting and why there is no password */
  async current(): Promise<string> {
    const password = this.#password
    if (password !== undefined && performance.now() - this.#printedMs < this.#maxAgeMs) {
      return password
    }
    return await this.#fresh(password)
  }

  async insteadOf(refused: string): Promise<string> {
    const password = this.#password
    return password === undefined || password === refused ? await this.#fresh(password) : password
  }

  async #fresh(otherwise: string | undefined): Promise<string> {
    if (!this.#isRunning && performance.now() - this.#begunMs >= RERUN_MS_MIN) {
      this.#begunMs = performance.now()
      this.#isRunning = true
      this.#last = this.#run().finally(() => {
        this.#isRunning = false
      })
    }
    try {
      // The first call has started it.
      return (await this.#last) ?? ''
    } catch (error) {
      if (otherwise === undefined) throw error
      return otherwise
    }
  }

  async #run(): Promise<string> {
    const output = await outputOf(this.#command, this.#timeoutMs)
    const password = output.trim()
    if (password === '') throw fault('printed nothing')
    if (/[\r\n]/.test(password)) throw fault('printed more than one line')
    this.#password = password
    this.#printedMs = performance.now()
    return password
  }
}

const fault = (what: string): Error => new Error(`REDIS_PASSWORD_COMMAND ${what}`)

// The command gets a process group of its own, so that whatever it has started can be ended with
// it.
async function outputOf(command: string, timeoutMs: number): Promise<string> {
  return await new Promise((resolve, reject) => {
    const child = spawn('/bin/sh', ['-c', command], {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true
    })
    const chunks: Buffer[] = []
    let bytes = 0
    const giveUp = (what: string): void => {
      reject(fault(what))
      if (child.pid !== undefined) endGroup(child.pid)
      child.stdout.destroy()
    }
    const late = setTimeout(() => {
      giveUp(`was not done after ${timeoutMs} ms`)
    }, timeoutMs)
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > OUTPUT_BYTES_MAX) giveUp(`printed more than ${OUTPUT_BYTES_MAX} bytes`)
      else chunks.push(chunk)
    })
    child.once('error', error => {
      clearTimeout(late)
      reject(fault(`could not be started: ${(error as NodeJS.ErrnoException).code ?? 'no reason'}`))
    })
    child.once('close', (status, signal) => {
      clearTimeout(late)
      if (status === 0) resolve(Buffer.concat(chunks).toString())
      else reject(fault(`ended with ${signal ?? `status ${status}`}`))
    })
  })
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
