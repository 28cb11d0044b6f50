// Programs of the benchmarks, each a process of its own: loads and counters share no event loop
// with what they measure, and the processor time of each is known. Calls go over Node's IPC
// channel. A program ends with its channel, so none outlives the command that started it.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { messageOf } from '../src/errors.js'
import { COLLECTING } from '../tests/drills/collecting.js'

// A program's methods take one argument, which is passed as JSON. `never` accepts any argument
// type.
export type Methods = Readonly<Record<string, (argument: never) => Promise<unknown>>>

type Call = { readonly id: number; readonly method: string; readonly argument: unknown }
type Answer = { readonly id: number; readonly result?: unknown; readonly error?: string }
type Waiting = {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

const STOP_MS_MAX = 5000

export class Program<M extends Methods> {
  readonly #name: string
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #calls = 0

  /** @param name the file in programs/ */
  constructor(name: string) {
    this.#name = name
    this.#child = fork(fileURLToPath(new URL(`./programs/${name}.js`, import.meta.url)), {
      execArgv: ['--enable-source-maps', COLLECTING]
    })
    this.#child.on('message', message => {
      // Only `serve` sends messages.
      this.#settle(message as Answer)
    })
    this.#child.once('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) {
        reject(new Error(`The program ${name} ended (${signal ?? code})`))
      }
      this.#waiting.clear()
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  async call<K extends keyof M & string>(
    method: K,
    argument: Parameters<M[K]>[0]
  ): Promise<Awaited<ReturnType<M[K]>>> {
    const id = ++this.#calls
    return await new Promise((resolve, reject) => {
      if (!this.#child.connected) return reject(new Error(`The program ${this.#name} has ended`))
      // The answer is what the method of this name returned.
      this.#waiting.set(id, {
        resolve: result => {
          resolve(result as Awaited<ReturnType<M[K]>>)
        },
        reject
      })
      this.#child.send({ id, method, argument } satisfies Call)
    })
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    const tooLong = setTimeout(() => {
      this.#child.kill('SIGKILL')
    }, STOP_MS_MAX)
    if (this.#child.connected) this.#child.disconnect()
    await ended
    clearTimeout(tooLong)
  }

  #settle({ id, result, error }: Answer): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(result)
    else waiting?.reject(new Error(`${this.#name}: ${error}`))
  }
}

/**
 * The program's side: a program calls this once, with its methods. To use a program's types write
 * `import type { … }`: `import { type … }` would run the program.
 */
export function serve(methods: Methods): void {
  process.on('disconnect', () => process.exit(0))
  // The command handles the signals that go to the whole process group, and this program ends with
  // the command.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined)
  process.on('message', message => {
    // Only Program.call sends.
    const { id, method, argument } = message as Call
    const answer = (rest: Omit<Answer, 'id'>): void => {
      process.send?.({ id, ...rest })
    }
    // The caller typed the argument with the same `Methods`.
    const run = methods[method] as ((argument: unknown) => Promise<unknown>) | undefined
    if (run === undefined) return answer({ error: `no method ${method}` })
    run(argument).then(
      result => {
        answer({ result })
      },
      error => {
        answer({ error: messageOf(error) })
      }
    )
  })
}
