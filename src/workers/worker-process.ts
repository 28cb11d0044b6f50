// One worker, as the parent sees it: its process and its connections. Invariant: at most one
// connection is on its way to the worker, and it stays open here until the worker has confirmed it.
// A connection that a dying worker has not taken goes to another one. (With node:cluster, or if the
// socket is not kept open while it is sent, the client of such a connection waits for ever.)
import { fork, type ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { PROGRAMS } from '../places.js'
import { type FromWorker, type ToWorker } from './messages.js'

const FILE = fileURLToPath(new URL('workers/worker.js', PROGRAMS))

export type WorkerEvents = {
  onMessage: (worker: WorkerProcess, message: FromWorker) => void
  /** @param untaken a connection that was on its way to the worker */
  onExit: (worker: WorkerProcess, how: string, untaken: Socket | undefined) => void
}

export class WorkerProcess {
  readonly number: number
  readonly #child: ChildProcess
  /** True from when the worker is ready until it ends or leaves. */
  isServing = false
  readyAt: number | undefined
  /** Why it could not start, in its own words. */
  failure: string | undefined
  openConnections = 0
  #onItsWay: Socket | undefined
  #isOver = false

  constructor(number: number, redisUrls: readonly string[] | undefined, events: WorkerEvents) {
    this.number = number
    this.#child = fork(FILE, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', (message: FromWorker) => {
      this.#note(message)
      events.onMessage(this, message)
    })
    // A worker's last messages may be read after its end. Only after `disconnect` is it known what
    // the worker had taken.
    let how: string | undefined
    const end = (): void => {
      if (how === undefined || this.#child.connected || this.#isOver) return
      this.#isOver = true
      this.isServing = false
      events.onExit(this, how, this.#onItsWay)
    }
    // `error` means that it could not be started at all.
    this.#child.once('error', error => {
      how ??= error.message
      end()
    })
    this.#child.once('exit', (code, signal) => {
      how ??= signal ?? `status ${code}`
      end()
    })
    this.#child.once('disconnect', end)
    this.tell({ kind: 'start', redisUrls })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  get canTake(): boolean {
    return this.isServing && this.#onItsWay === undefined
  }

  take(socket: Socket): void {
    this.#onItsWay = socket
    this.openConnections++
    this.#send({ kind: 'connection' }, socket)
  }

  tell(message: ToWorker): void {
    this.#send(message)
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #send(message: ToWorker, socket?: Socket): void {
    // If it has just died, `exit` reports that.
    if (this.#child.connected) {
      this.#child.send(message, socket, { keepOpen: true }, () => undefined)
    }
  }

  #note(message: FromWorker): void {
    if (message.kind === 'ready') {
      this.isServing = true
      this.readyAt = performance.now()
    } else if (message.kind === 'taken') {
      // The worker's copy stays open.
      this.#onItsWay?.destroy()
      this.#onItsWay = undefined
    } else if (message.kind === 'closed') this.openConnections -= message.count
    else if (message.kind === 'failed') this.failure = message.message
    else if (message.kind === 'leaving') this.isServing = false
  }
}
