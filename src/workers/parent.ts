// Several service processes behind one port (WORKERS). This process listens, hands each connection
// to the worker with the fewest, restarts dead workers, and adds up the metrics. It serves no
// requests itself. Invariant: the port is open from the time all workers are first ready until the
// stop, even if workers die; connections wait here until a worker is free. Alternatives are worse:
// with SO_REUSEPORT the connections waiting for a dying worker are reset, and workers that accept
// from one socket get very unequal shares.
import { createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { backoffMs } from '../backoff.js'
import { type FromWorker } from './messages.js'
import { Sum } from './sum.js'
import { WorkerProcess } from './worker-process.js'

export type ParentOptions = {
  readonly workers: number
  readonly host: string
  readonly port: number
  readonly backlog: number
  /** URLs of the embedded cluster; undefined if REDIS_NODES says where Redis is. */
  readonly redisUrls: readonly string[] | undefined
  /** How long a worker may take to stop. */
  readonly stopMsMax: number
  readonly warn: (line: string) => void
  /** Workers keep dying, and the parent gives up. */
  readonly onGivenUp: () => void
}

const RESTART_MS_MIN = 100
const RESTART_MS_MAX = 10_000
/** A worker that was ready for this long did not die at once. */
const LIVED_MS = 5000
/** After this many deaths in a row, with no worker left, the parent gives up. */
const DEATHS_MAX = 8
/** How long a worker may take to report its metrics; its event loop may be busy. */
const COUNT_MS_MAX = 1000

export class Parent {
  readonly #options: ParentOptions
  readonly #server: Server
  readonly #workers = new Map<number, WorkerProcess>()
  readonly #waiting: Socket[] = []
  readonly #counting = new Map<number, () => void>()
  readonly #sum = new Sum()
  readonly #restarts = new Set<NodeJS.Timeout>()
  readonly #leaving = new Map<WorkerProcess, () => void>()
  #counts = 0
  #deaths = 0
  #started: { resolve: () => void; reject: (error: Error) => void } | undefined
  #stopping: Promise<void> | undefined

  constructor(options: ParentOptions) {
    this.#options = options
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, socket => {
      this.#accept(socket)
    })
  }

  /**
   * Resolves with the port when all workers serve.
   * @throws Error with the message of a worker that cannot start
   */
  async start(): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#started = { resolve, reject }
      for (let number = 1; number <= this.#options.workers; number++) this.#startWorker(number)
    })
    this.#started = undefined
    const { host, port, backlog } = this.#options
    this.#server.listen({ host, port, backlog })
    await once(this.#server, 'listening')
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : port
  }

  /**
   * Closes the port, lets every worker finish its requests and end its streams, and waits for them.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    for (const timer of this.#restarts) clearTimeout(timer)
    // Connections that the system has accepted but this process has not would be reset; one turn
    // takes them in.
    await turn()
    if (this.#server.listening) this.#server.close()
    while (this.#waiting.length > 0 && this.#serving.length > 0) await turn()
    const late = setTimeout(() => {
      for (const worker of this.#workers.values()) worker.kill()
    }, this.#options.stopMsMax)
    await Promise.all(
      [...this.#workers.values()].map(
        worker =>
          new Promise<void>(resolve => {
            this.#leaving.set(worker, resolve)
            worker.tell({ kind: 'stop' })
          })
      )
    )
    clearTimeout(late)
    for (const socket of this.#waiting.splice(0)) socket.destroy()
  }

  get #serving(): WorkerProcess[] {
    return [...this.#workers.values()].filter(worker => worker.isServing)
  }

  #startWorker(number: number): void {
    const worker = new WorkerProcess(number, this.#options.redisUrls, {
      onMessage: (worker, message) => {
        this.#receive(worker, message)
      },
      onExit: (worker, how, untaken) => {
        this.#ended(worker, how)
        if (untaken !== undefined) this.#handOn(untaken)
      }
    })
    this.#workers.set(number, worker)
  }

  #receive(worker: WorkerProcess, message: FromWorker): void {
    switch (message.kind) {
      case 'ready':
        this.#tellFleet()
        if (this.#serving.length === this.#options.workers) this.#started?.resolve()
        this.#dispatch()
        break
      case 'leaving':
        this.#tellFleet()
        worker.tell({ kind: 'stop' })
        break
      case 'taken':
        this.#dispatch()
        break
      case 'counted':
        this.#sum.report(worker.number, message.metrics)
        if (message.id !== undefined) this.#counting.get(message.id)?.()
        break
      case 'sum':
        void this.#metrics().then(text => {
          worker.tell({ kind: 'summed', id: message.id, text })
        })
    }
  }

  #accept(socket: Socket): void {
    socket.on('error', () => undefined) // it is closed next
    if (this.#waiting.length >= this.#options.backlog) socket.destroy()
    else if (this.#waiting.push(socket) === 1) this.#dispatch()
  }

  // Puts back a connection that its worker did not take; it was first in line.
  #handOn(socket: Socket): void {
    this.#waiting.unshift(socket)
    this.#dispatch()
  }

  // A worker with a busy event loop does not take its connection, and gets no other one until it
  // has.
  #dispatch(): void {
    while (this.#waiting.length > 0) {
      let best: WorkerProcess | undefined
      for (const worker of this.#workers.values()) {
        if (
          worker.canTake &&
          (best === undefined || worker.openConnections < best.openConnections)
        ) {
          best = worker
        }
      }
      if (best === undefined) return
      const socket = this.#waiting.shift()
      if (socket !== undefined && !socket.destroyed) best.take(socket)
    }
  }

  #ended(worker: WorkerProcess, how: string): void {
    this.#workers.delete(worker.number)
    this.#sum.end(worker.number)
    this.#leaving.get(worker)?.()
    if (this.#stopping !== undefined) return
    this.#tellFleet()
    if (this.#started !== undefined) {
      this.#started.reject(new Error(worker.failure ?? `a worker ended at once (${how})`))
      return
    }
    const hasLived = worker.readyAt !== undefined && performance.now() - worker.readyAt >= LIVED_MS
    this.#deaths = hasLived ? 1 : this.#deaths + 1
    if (this.#deaths >= DEATHS_MAX && this.#serving.length === 0) {
      this.#options.warn(
        `Workers died ${this.#deaths} times in a row, the last one with ${worker.failure ?? how}: giving up`
      )
      this.#options.onGivenUp()
      return
    }
    const delayMs = Math.round(backoffMs(this.#deaths - 1, RESTART_MS_MIN, RESTART_MS_MAX))
    this.#options.warn(
      `Worker ${worker.number} (process ${worker.pid}) ended: ${worker.failure ?? how}. Starting another in ${delayMs} ms`
    )
    const timer = setTimeout(() => {
      this.#restarts.delete(timer)
      this.#startWorker(worker.number)
    }, delayMs)
    this.#restarts.add(timer)
  }

  #tellFleet(): void {
    const fleet = { running: this.#serving.length, wanted: this.#options.workers }
    for (const worker of this.#workers.values()) worker.tell({ kind: 'fleet', fleet })
  }

  // Workers that do not answer in time count with their last report.
  async #metrics(): Promise<string> {
    const id = this.#counts++
    const ready = [...this.#workers.values()].filter(({ readyAt }) => readyAt !== undefined)
    let reports = 0
    await new Promise<void>(resolve => {
      const late = setTimeout(resolve, COUNT_MS_MAX)
      this.#counting.set(id, () => {
        if (++reports < ready.length) return
        clearTimeout(late)
        resolve()
      })
      for (const worker of ready) worker.tell({ kind: 'count', id })
    })
    this.#counting.delete(id)
    return await this.#sum.text()
  }
}
