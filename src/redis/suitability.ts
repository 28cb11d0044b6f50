// Whether Redis lets the service do its work: every node is checked at start, when it joins, and
// periodically. Invariant: while a permanent refusal is known, `fault` names it. This is checked
// again every two seconds, and cleared when Redis no longer refuses. Nothing else repeats what was
// refused.
import { messageOf, type DialogsError } from '../errors.js'
import { isRedisError, type Reply } from './connection.js'
import { isForGood, nextStep, refusalOf } from './redirect.js'
import { checkCommand, evictionIn, serverIn, unmetBy, type Requirements } from './requirements.js'
import { untriedIn } from './versions.js'

export type SuitabilityOptions = {
  readonly requirements: Requirements
  readonly replicaAcks: number
  /** Sends one command to one node, once. */
  readonly ask: (node: string, args: string[]) => Promise<Reply>
  /** Looks whether data is missing (markers.ts); undefined if none is. */
  readonly examineData: () => Promise<DialogsError | undefined>
  /** A fault was found, or has gone (undefined). */
  readonly onFault: (fault: DialogsError | undefined) => void
  /** Says in one sentence what cannot be checked or is unknown. */
  readonly onWarning: (text: string) => void
}

const AGAIN_MS = 2_000
/** Somebody may change the memory policy or the permissions while the service runs. */
const EVERY_MS = 60_000
/** Different faults that are reported until nothing is refused any more. */
const SAID_MAX = 20

export class Suitability {
  readonly #options: SuitabilityOptions
  readonly #command: string[]
  #nodes: ReadonlySet<string> = new Set()
  #fault: DialogsError | undefined
  /** What was reported since the last time that nothing was refused. */
  readonly #said = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  readonly #warnings = new Set<string>()
  #isClosed = false

  constructor(options: SuitabilityOptions) {
    this.#options = options
    this.#command = checkCommand(options.requirements, options.replicaAcks)
  }

  /** What Redis refuses permanently, as far as is known. */
  get fault(): DialogsError | undefined {
    return this.#fault
  }

  /** Checks all nodes. @throws DialogsError STORE_DENIED, STORE_UNSUITABLE or STORE_LOST */
  async start(nodes: readonly string[]): Promise<void> {
    this.#nodes = new Set(nodes)
    const fault = await this.#examineAll(nodes)
    if (fault !== undefined) throw fault
    this.#checkIn(EVERY_MS)
  }

  /** Takes the current nodes of the cluster and checks new ones. */
  follow(nodes: readonly string[]): void {
    if (this.#timer === undefined) return
    const added = nodes.filter(node => !this.#nodes.has(node))
    this.#nodes = new Set(nodes)
    if (added.length > 0) {
      void this.#examineAll(added).then(fault => {
        if (fault !== undefined) this.note(fault)
      })
    }
  }

  /** Notes that Redis refused a command, if the refusal is permanent. */
  note(error: unknown): void {
    if (!isForGood(error) || this.#isClosed) return
    // One cause can show in several ways in turn, such as in a command and in a script.
    if (!this.#said.has(error.message) && this.#said.size < SAID_MAX) {
      this.#said.add(error.message)
      this.#options.onFault(error)
    }
    this.#fault = error
    this.#checkIn(AGAIN_MS)
  }

  /** Checks everything soon. */
  checkSoon(): void {
    if (this.#timer !== undefined) this.#checkIn(AGAIN_MS)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
  }

  #checkIn(ms: number): void {
    clearTimeout(this.#timer)
    if (this.#isClosed) return
    this.#timer = setTimeout(() => {
      void this.#check()
    }, ms)
    this.#timer.unref()
  }

  async #check(): Promise<void> {
    const fault = await this.#examineAll([...this.#nodes])
    if (fault !== undefined) return this.note(fault)
    if (this.#fault !== undefined) this.#options.onFault(undefined)
    this.#fault = undefined
    this.#said.clear()
    this.#checkIn(EVERY_MS)
  }

  async #examineAll(nodes: readonly string[]): Promise<DialogsError | undefined> {
    const faults = await Promise.all(nodes.map(node => this.#examine(node)))
    return faults.find(fault => fault !== undefined) ?? (await this.#options.examineData())
  }

  // A node that does not answer is not judged; the next round checks it again.
  async #examine(node: string): Promise<DialogsError | undefined> {
    try {
      const reply = await this.#options.ask(node, this.#command)
      const unmet = unmetBy(reply, this.#options.requirements)
      if (unmet !== undefined) return unmet
      const untried = untriedIn(serverIn(reply))
      if (untried !== undefined) this.#warn(untried)
    } catch (error) {
      const refusal = refusalOf(error)
      if (isForGood(refusal)) return refusal
      if (!isRefused(error)) return undefined
      this.#warn(
        `Redis refuses the check of the service's permissions (${messageOf(error)}). So the service knows neither whether it may do everything that it needs, nor which server this is.`
      )
    }
    return await this.#evictionAt(node)
  }

  async #evictionAt(node: string): Promise<DialogsError | undefined> {
    try {
      return evictionIn(String(await this.#options.ask(node, ['INFO', 'memory'])))
    } catch (error) {
      if (!isRefused(error)) return undefined
      this.#warn(
        `Redis denies the service INFO (${messageOf(error)}). So it cannot check that maxmemory-policy is noeviction, and a replica that is still synchronizing holds up writes.`
      )
      return undefined
    }
  }

  #warn(text: string): void {
    if (this.#warnings.has(text)) return
    this.#warnings.add(text)
    this.#options.onWarning(text)
  }
}

// The node has answered, and would answer the same again.
const isRefused = (error: unknown): boolean =>
  isRedisError(error) && nextStep(error, '').kind === 'give-up'
