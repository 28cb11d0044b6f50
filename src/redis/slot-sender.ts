// Sends one command to the node that owns its slot. It is sent again while the cluster says
// "elsewhere" (MOVED, ASK, TRYAGAIN) or "not now" (LOADING, a broken connection), with growing
// pauses, until its deadline. Invariant: a command fails here only after it was retried until its
// deadline, or if the refusal is permanent.
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../backoff.js'
import { DialogsError } from '../errors.js'
import { type ClusterView } from './cluster-view.js'
import { ConnectionLost } from './connection.js'
import { type Written } from './node-pipeline.js'
import { type Node } from './nodes.js'
import { nextStep, type NextStep } from './redirect.js'
import { scriptText } from './script.js'

export type Args = string[]
type Send = (
  node: Node,
  args: Args,
  isAsking: boolean,
  resolve: (written: Written) => void,
  reject: (error: unknown) => void
) => void
export type Command = {
  readonly args: Args
  readonly deadline: number | undefined
  readonly send: Send
  /** Makes the command to send instead if the slot is moving and the keys are on both nodes. */
  readonly inMigration?: (() => Args) | undefined
}

export type SlotSenderOptions = {
  readonly view: ClusterView
  readonly storeDeadlineMs: number
  readonly onRetry: (why: string) => void
  /** Redis refused a command permanently. */
  readonly onRefused: (error: unknown) => void
}

const BACKOFF_MS_MIN = 5
const BACKOFF_MS_MAX = 200
/**
 * This many redirections are followed without a pause. Later ones wait, because they may go round
 * in a circle.
 */
const REDIRECTS_AT_ONCE = 5

export class SlotSender {
  readonly #options: SlotSenderOptions
  readonly #view: ClusterView
  #isClosed = false

  constructor(options: SlotSenderOptions) {
    this.#options = options
    this.#view = options.view
  }

  /**
   * Sends a command to the owner of a slot until it is answered. Nearly always the first attempt
   * succeeds, and then retrying has cost nothing.
   * @throws DialogsError STORE_UNAVAILABLE after the deadline, or the code of a permanent refusal
   */
  send(slot: number, command: Command): Promise<Written> {
    const node = this.#view.ownerOf(slot)
    if (node === undefined) return this.#tryAgain(slot, command, NO_OWNER, undefined)
    return new Promise(resolve => {
      command.send(node, command.args, false, resolve, error => {
        resolve(this.#tryAgain(slot, command, error, node))
      })
    })
  }

  // Ends at the deadline, or after close().
  async #tryAgain(
    slot: number,
    original: Command,
    firstError: unknown,
    firstNode: Node | undefined
  ): Promise<Written> {
    const until = original.deadline ?? performance.now() + this.#options.storeDeadlineMs
    let command = original
    let failure = { error: firstError, node: firstNode }
    let wasLost = false
    for (let tries = 0; ; tries++) {
      const { error, node } = failure
      if (node !== undefined && error instanceof ConnectionLost) {
        wasLost = true
        node.lost()
      }
      const step = nextStep(error, node?.address.host ?? '')
      this.#options.onRetry(step.kind)
      if (step.kind === 'give-up') {
        this.#options.onRefused(step.error)
        throw step.error
      }
      if (this.#isClosed || performance.now() >= until) {
        throw new DialogsError(
          'STORE_UNAVAILABLE',
          'The store does not answer: try again with the same Idempotency-Key.',
          { cause: error }
        )
      }
      await this.#pauseBefore(step, command, tries)
      command = adapted(command, step)
      const to = step.kind === 'ask' ? this.#view.nodeAt(step.to) : this.#view.ownerOf(slot)
      try {
        const written = await sendOnce(command, to, step.kind === 'ask')
        return wasLost ? { ...written, wasLost } : written
      } catch (error) {
        failure = { error, node: to }
      }
    }
  }

  // If the error says where or how to send the command, that is tried at once. Otherwise looks at
  // the topology and gives the node a moment.
  async #pauseBefore(step: NextStep, command: Command, tries: number): Promise<void> {
    const isAtOnce = tries < REDIRECTS_AT_ONCE && hasWay(step, command)
    if (step.kind === 'moved') this.#view.move(step.slot, step.to)
    if (step.kind === 'moved' || (step.kind === 'again' && step.mayHaveMoved)) {
      await this.#view.refreshSoon(isAtOnce)
    }
    if (!isAtOnce) await sleep(backoffMs(tries, BACKOFF_MS_MIN, BACKOFF_MS_MAX))
  }

  /** From now on, commands that fail are not sent again. */
  close(): void {
    this.#isClosed = true
  }
}

const hasWay = (step: NextStep, { inMigration }: Command): boolean =>
  step.kind === 'moved' ||
  step.kind === 'ask' ||
  step.kind === 'no-script' ||
  (step.kind === 'half-moved' && inMigration !== undefined)

/** The command as it must be sent from now on. */
function adapted(command: Command, step: NextStep): Command {
  if (step.kind === 'half-moved' && command.inMigration !== undefined) {
    return { ...command, args: command.inMigration(), inMigration: undefined }
  }
  if (step.kind === 'no-script') {
    return { ...command, args: ['EVAL', scriptText(command.args[1]), ...command.args.slice(2)] }
  }
  return command
}

async function sendOnce(
  { args, send }: Command,
  node: Node | undefined,
  isAsking: boolean
): Promise<Written> {
  if (node === undefined) throw NO_OWNER
  return await new Promise((resolve, reject) => {
    send(node, args, isAsking, resolve, reject)
  })
}

/** On a connection for commands. */
export const sendCommand: Send = (node, args, isAsking, resolve, reject) => {
  node.commands.send(args, isAsking, false, resolve, reject)
}
/** On a connection for writes. The result tells when replicas have the write. */
export const sendWrite: Send = (node, args, isAsking, resolve, reject) => {
  node.writes.send(args, isAsking, true, resolve, reject)
}
/** On a connection for writes, without a wait for replicas. */
export const sendUnacknowledged: Send = (node, args, isAsking, resolve, reject) => {
  node.writes.send(args, isAsking, false, resolve, reject)
}
/** On the connection for large replies. */
export const sendRead: Send = (node, args, isAsking, resolve, reject) => {
  read(node, args, isAsking).then(resolve, reject)
}

async function read(node: Node, args: Args, isAsking: boolean): Promise<Written> {
  const connection = node.reads.current ?? (await node.reads.open())
  if (isAsking) connection.send(['ASKING']).catch(() => undefined)
  return { reply: await connection.send(args), replicated: NOTHING_TO_REPLICATE, wasLost: false }
}

const NOTHING_TO_REPLICATE = Promise.resolve()

const NO_OWNER = new ConnectionLost('No node of the cluster answers')
