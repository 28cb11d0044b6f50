// During a run, replaces Node's timers, clocks, chance and sockets with virtual time, the seed's
// chance and simulated sockets, for all code of the process. Outside a run everything works as
// usual; a flag is enough to tell the two apart, because a run is one synchronous call. Import
// it before the service's modules are used. They need no change, because their imports of Node's
// built-in modules follow (module.syncBuiltinESMExports).
import { syncBuiltinESMExports } from 'node:module'
import net from 'node:net'
import timers from 'node:timers'
import promises from 'node:timers/promises'
import { type Task, type VirtualTime } from './virtual-time.js'

export type Surroundings = {
  readonly time: VirtualTime
  readonly connect: (host: string, port: number) => net.Socket
}

let current: Surroundings | undefined

/**
 * Runs a function in these surroundings. It must be synchronous. Do not call this from a promise's
 * callback: microtasks would not run then.
 */
export function within<T>(surroundings: Surroundings, run: () => T): T {
  if (current !== undefined) throw new Error('A run is already in progress')
  current = surroundings
  try {
    return run()
  } finally {
    current = undefined
  }
}

const real = {
  Date,
  random: Math.random,
  now: performance.now.bind(performance),
  connect: net.connect,
  setTimeout,
  setInterval,
  setImmediate,
  clearTimeout,
  clearInterval,
  clearImmediate,
  promises: { ...promises }
}

/** What setTimeout and the like return. */
class VirtualTimer {
  readonly #time: VirtualTime
  readonly #ms: number
  readonly #run: () => void
  #task: Task

  constructor(time: VirtualTime, ms: number, run: () => void, isRepeated: boolean) {
    this.#time = time
    this.#ms = ms
    this.#run = isRepeated
      ? () => {
          this.#task = this.#start()
          run()
        }
      : run
    this.#task = this.#start()
  }

  #start(): Task {
    return this.#time.timer(this.#ms, this.#run)
  }

  close(): this {
    this.#time.cancel(this.#task)
    return this
  }

  refresh(): this {
    this.close()
    this.#task = this.#start()
    return this
  }

  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
  hasRef(): boolean {
    return true
  }
}

class VirtualImmediate {
  readonly #task: Task
  readonly #time: VirtualTime

  constructor(time: VirtualTime, run: () => void) {
    this.#time = time
    this.#task = time.after(0, run)
  }

  close(): void {
    this.#time.cancel(this.#task)
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
  hasRef(): boolean {
    return true
  }
}

type Callback = (...args: unknown[]) => void

function later(
  isRepeated: boolean,
  realOne: (run: Callback, ms?: number, ...args: unknown[]) => unknown
) {
  return (run: Callback, ms = 0, ...args: unknown[]): unknown =>
    current === undefined
      ? realOne(run, ms, ...args)
      : new VirtualTimer(
          current.time,
          ms,
          args.length === 0
            ? run
            : () => {
                run(...args)
              },
          isRepeated
        )
}

const virtual = {
  setTimeout: later(false, real.setTimeout),
  setInterval: later(true, real.setInterval),
  setImmediate: (run: Callback, ...args: unknown[]): unknown =>
    current === undefined
      ? real.setImmediate(run, ...args)
      : new VirtualImmediate(current.time, () => {
          run(...args)
        }),
  clearTimeout: clear,
  clearInterval: clear,
  clearImmediate: clear
}

function clear(timer: unknown): void {
  if (timer instanceof VirtualTimer || timer instanceof VirtualImmediate) timer.close()
  else if (isImmediate(timer)) real.clearImmediate(timer)
  // The only kind left is what Node's own functions returned.
  else real.clearTimeout(timer as NodeJS.Timeout | undefined)
}

const isImmediate = (timer: unknown): timer is NodeJS.Immediate =>
  timer?.constructor?.name === 'Immediate'

type SleepOptions = { readonly signal?: AbortSignal }

const virtualPromises = {
  setTimeout: (ms?: number, value?: unknown, options: SleepOptions = {}): Promise<unknown> => {
    if (current === undefined) return real.promises.setTimeout(ms, value, options)
    const { time } = current
    const { signal } = options
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        time.cancel(task)
        reject(new DOMException('The operation was aborted', 'AbortError'))
      }
      const task = time.timer(ms ?? 1, () => {
        signal?.removeEventListener('abort', abort)
        resolve(value)
      })
      if (signal?.aborted === true) abort()
      else signal?.addEventListener('abort', abort, { once: true })
    })
  },
  setImmediate: (value?: unknown, options?: SleepOptions): Promise<unknown> => {
    if (current === undefined) return real.promises.setImmediate(value, options)
    const { time } = current
    return new Promise(resolve => {
      time.after(0, () => {
        resolve(value)
      })
    })
  }
}

class VirtualDate extends real.Date {
  constructor(...args: unknown[]) {
    // Without arguments, `new Date()` reads the clock; with arguments, it only converts them.
    if (args.length === 0 && current !== undefined) super(current.time.wallMs)
    else super(...(args as []))
  }

  static override now(): number {
    return current === undefined ? real.Date.now() : current.time.wallMs
  }
}

function connect(...args: unknown[]): net.Socket {
  if (current === undefined) return real.connect(...(args as [net.NetConnectOpts]))
  const [first, second] = args
  // node-redis passes an object; the service's own pub/sub connection passes a port and a host.
  const { host, port } =
    typeof first === 'object'
      ? (first as { host: string; port: number })
      : { host: String(second), port: Number(first) }
  return current.connect(host, port)
}

Object.assign(globalThis, virtual, { Date: VirtualDate })
Object.assign(timers, virtual)
Object.assign(promises, virtualPromises)
Object.assign(net, { connect, createConnection: connect })
Math.random = () => (current === undefined ? real.random() : current.time.random.next())
Object.defineProperty(performance, 'now', {
  configurable: true,
  writable: true,
  value: () => (current === undefined ? real.now() : current.time.now)
})
syncBuiltinESMExports()

process.on('unhandledRejection', error => {
  if (current === undefined) throw error
  current.time.onCrash(current.time.owner, error)
})

/** The real clock, for figures about the simulation itself. */
export const realNow = real.now
/** Runs a function outside any promise's callback. */
export const outsidePromises = <T>(run: () => T): Promise<T> =>
  new Promise((resolve, reject) => {
    real.setImmediate(() => {
      try {
        resolve(run())
      } catch (error) {
        reject(error)
      }
    })
  })
