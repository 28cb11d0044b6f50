// Virtual time: a heap of tasks that run one after the other, each with all its microtasks before
// the next task starts. Invariant: nothing in a run waits for the real clock or the real event
// loop, so a run is one synchronous call, and its order depends on the seed alone. Each task has an
// owner, a process of the simulated world; tasks that its code schedules belong to the same owner.
// globals.ts, not this file, replaces Node's global functions.
import { type Random } from './random.js'

/** A simulated process: an instance of the service, a Redis node, a client. */
export type Owner = {
  readonly name: string
  /** How far its wall clock is ahead of the simulation's. */
  clockMs: number
  /** It has ended and runs nothing any more. */
  isDead: boolean
  /**
   * It is paused until then, as by SIGSTOP or a long garbage collection; its tasks run afterwards.
   */
  pausedUntil: number
  /** What happens to it just before it publishes something. */
  beforePublishing?: (() => void) | undefined
}

export type Task = {
  at: number
  readonly order: number
  readonly owner: Owner
  run: (() => void) | undefined
}

/** The event loop of a busy process may be this late. */
const LATE_MS = 0.2
/**
 * How long a task takes. Time never stands still, so a loop that never waits runs into the limit of
 * steps.
 */
const TASK_MS = 0.001
/** The wall-clock time at which runs start. */
const EPOCH_MS = Date.UTC(2026, 0, 1)

// Runs what `process.nextTick` and promises have queued, without going through the event loop.
// Undocumented, but as old as Node's own timers.
const drain = (process as unknown as { readonly _tickCallback: () => void })._tickCallback

export const newOwner = (name: string): Owner => ({
  name,
  clockMs: 0,
  isDead: false,
  pausedUntil: 0
})

export class VirtualTime {
  now = 0
  steps = 0
  owner: Owner = newOwner('world')
  readonly random: Random
  /**
   * Called with an error that a task threw, or with which a promise was rejected, if nobody handled
   * it.
   */
  onCrash: (owner: Owner, error: unknown) => void = (_, error) => {
    throw error
  }
  readonly #heap: Task[] = []
  readonly #lateness: Random
  #ordered = 0

  constructor(random: Random) {
    this.random = random.fork('process')
    this.#lateness = random.fork('lateness')
  }

  /** The wall clock of the process that is running now. */
  get wallMs(): number {
    return this.wallOf(this.owner)
  }

  wallOf(owner: Owner): number {
    return Math.floor(EPOCH_MS + this.now + owner.clockMs)
  }

  /** Runs something after this many ms, for the current owner unless another one is named. */
  after(ms: number, run: () => void, owner = this.owner): Task {
    const task: Task = { at: this.now + Math.max(0, ms), order: this.#ordered++, owner, run }
    this.#push(task)
    return task
  }

  /** Like `after`, but a little late now and then: for timers. */
  timer(ms: number, run: () => void): Task {
    return this.after(Math.max(1, ms) + this.#lateness.next() * LATE_MS, run)
  }

  /** All clocks go on at once. What was due meanwhile is done now. */
  leap(ms: number): void {
    this.now += ms
  }

  cancel(task: Task): void {
    task.run = undefined
  }

  /** Runs tasks until none is left before `until`, or until `isDone` returns true. */
  run(until: number, stepsMax: number, isDone: () => boolean): void {
    while (!isDone()) {
      const task = this.#heap[0]
      if (task === undefined || task.at > until) {
        this.now = Math.max(this.now, until)
        return
      }
      this.#pop()
      const { owner } = task
      if (task.run === undefined || owner.isDead) continue
      if (owner.pausedUntil > this.now && owner.pausedUntil > task.at) {
        task.at = owner.pausedUntil
        this.#push(task)
        continue
      }
      if (++this.steps > stepsMax) {
        throw new Error(`more than ${stepsMax} steps: something loops without end (${owner.name})`)
      }
      this.now = Math.max(this.now + TASK_MS, task.at)
      this.owner = owner
      const { run } = task
      task.run = undefined
      this.#perform(run)
    }
  }

  #perform(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.onCrash(this.owner, error)
    }
    try {
      drain()
    } catch (error) {
      this.onCrash(this.owner, error)
    }
  }

  #push(task: Task): void {
    const heap = this.#heap
    let index = heap.push(task) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent] as Task
      if (isBefore(above, task)) break
      heap[index] = above
      index = parent
    }
    heap[index] = task
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Task
    const { length } = heap
    if (length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= length) break
      if (child + 1 < length && isBefore(heap[child + 1] as Task, heap[child] as Task)) child++
      if (isBefore(last, heap[child] as Task)) break
      heap[index] = heap[child] as Task
      index = child
    }
    heap[index] = last
  }
}

const isBefore = (a: Task, b: Task): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)
