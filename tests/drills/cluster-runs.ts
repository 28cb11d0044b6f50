// Runs the cluster command as a person would, in a process of its own, and keeps its output.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { type World } from './world.js'
import { program } from '../support/program.js'

/** `output` is the standard output of the command, without its progress. */
export type ClusterRun = {
  readonly words: readonly string[]
  readonly output: string
  readonly status: number | null
  readonly elapsedMs: number
}

const STATUS_AGAIN_MS = 2000
const COMMAND = program('cli/cluster')

export class ClusterRuns {
  readonly all: ClusterRun[] = []
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  /**
   * Runs the command to its end.
   * @param interruptAt the percentage of its progress at which it gets a SIGINT, as from Ctrl-C
   * @throws Error when its exit status is not the expected one: 0, or 130 after an interruption. A
   * `status` that fails runs once more
   */
  async run(words: readonly string[], interruptAt?: number): Promise<ClusterRun> {
    try {
      return await this.#run(words, interruptAt)
    } catch (error) {
      if (words[0] !== 'status') throw error
      // A person would look again as well: on a busy machine the cluster may think for a moment
      // that a node is dead.
      this.all.pop()
      await sleep(STATUS_AGAIN_MS)
      return await this.#run(words)
    }
  }

  async #run(words: readonly string[], interruptAt?: number): Promise<ClusterRun> {
    const isChanging = words[0] !== 'status'
    if (isChanging) this.#world.did(`npm run cluster -- ${words.join(' ')}`)
    const startedMs = performance.now()
    const child = spawn(process.execPath, [COMMAND, ...words, ...(isChanging ? ['--yes'] : [])], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], DATA_DIR: this.#world.dataDir }
    })
    const closed = once(child, 'close')
    let output = ''
    let errors = ''
    let isInterrupted = false
    child.stdout.on('data', chunk => {
      output += String(chunk)
    })
    createInterface({ input: child.stderr }).on('line', line => {
      errors += `${line}\n`
      const percent = /^ *(\d+) %/.exec(line)?.[1]
      if (
        interruptAt === undefined ||
        isInterrupted ||
        percent === undefined ||
        Number(percent) < interruptAt
      ) {
        return
      }
      isInterrupted = true
      child.kill('SIGINT')
      this.#world.did(`SIGINT to it at ${percent} %`)
    })
    await closed
    const run = {
      words,
      output: output.trimEnd(),
      status: child.exitCode,
      elapsedMs: performance.now() - startedMs
    }
    this.all.push(run)
    if (run.status !== (isInterrupted ? 130 : 0)) {
      throw new Error(
        `npm run cluster -- ${words.join(' ')} ended with status ${run.status}:\n${output}${errors}`
      )
    }
    if (interruptAt !== undefined && !isInterrupted) {
      throw new Error(
        `npm run cluster -- ${words.join(' ')} was done before it could be interrupted at ${interruptAt} %`
      )
    }
    if (isChanging) this.#world.did(`${words[0]} ${isInterrupted ? 'was interrupted' : 'is done'}`)
    return run
  }
}
