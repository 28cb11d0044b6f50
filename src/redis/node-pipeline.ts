// Sends commands to one node in groups: whatever arrives in one turn of the event loop, or while
// the connections are busy, goes out as one pipeline. One WAIT follows a group of writes, unless
// none of them has to be acknowledged. So packets are far fewer and larger; sending each command by
// itself cost more than everything else in a POST. Invariant: `replicated` resolves only when the
// group's writes are safe (replication.ts). Callers decide where a key lives, and repeat what
// fails.
import { type Connection, type Receiver, type Reply } from './connection.js'
import { type Link } from './link.js'
import { type Replication } from './replication.js'

export type Written = {
  readonly reply: Reply
  /**
   * Rejects with DialogsError NOT_REPLICATED, or with ConnectionLost if the connection broke before
   * the acknowledgement.
   */
  readonly replicated: Promise<void>
  /**
   * Whether an earlier attempt was lost with its connection, so that it may have run as well. Set
   * by slot-sender.ts, which makes the attempts.
   */
  readonly wasLost: boolean
}

/** Commands sent in one turn of the event loop and acknowledged together. */
type Group = {
  readonly link: Link
  readonly connection: Connection
  readonly replicated: Promise<void>
  readonly settle: (outcome: Promise<void>) => void
  length: number
  unanswered: number
  isSealed: boolean
  /** Whether any of its commands has to be on a replica. */
  needsReplica: boolean
  /** Called when all commands are answered, unless the group has to wait for replicas too. */
  readonly onAnswered: (group: Group) => void
}

/** A command until it is answered. One object instead of two closures: there is one per command. */
class Command implements Receiver {
  readonly args: readonly string[]
  readonly isAsking: boolean
  readonly needsReplica: boolean
  readonly #resolve: (written: Written) => void
  readonly #reject: (error: unknown) => void
  #group: Group | undefined

  constructor(
    args: readonly string[],
    isAsking: boolean,
    needsReplica: boolean,
    resolve: (written: Written) => void,
    reject: (error: unknown) => void
  ) {
    this.args = args
    this.isAsking = isAsking
    this.needsReplica = needsReplica
    this.#resolve = resolve
    this.#reject = reject
  }

  dispatch(group: Group): void {
    this.#group = group
    group.length++
    group.unanswered++
    if (this.needsReplica) group.needsReplica = true
    if (this.isAsking) group.connection.dispatch(ASKING, NOBODY)
    group.connection.dispatch(this.args, this)
  }

  received(reply: Reply): void {
    this.#resolve({ reply, replicated: this.#group?.replicated ?? ALREADY, wasLost: false })
    this.#answered()
  }

  failed(error: unknown): void {
    this.#reject(error)
    this.#answered()
  }

  #answered(): void {
    const group = this.#group
    if (group === undefined) return
    group.unanswered--
    if (group.isSealed && group.unanswered === 0 && !group.needsReplica) group.onAnswered(group)
  }
}

const isForReplica = ({ needsReplica }: Command): boolean => needsReplica
const ALREADY = Promise.resolve()
const nothing = (): void => {}
const ASKING = ['ASKING']
const NOBODY: Receiver = { received: nothing, failed: nothing }
const GROUP_LENGTH_MAX = 512

export class NodePipeline {
  /** Undefined for commands that need no acknowledgement. */
  readonly #replication: Replication | undefined
  /** Links without a group in flight. */
  readonly #free: Link[]
  /** Commands that did not fit into a group yet. */
  readonly #queue: Command[] = []
  #gathering: Group | undefined

  constructor(links: readonly Link[], replication?: Replication) {
    this.#free = [...links]
    this.#replication = replication
  }

  /**
   * Sends a command with the present group, or with the next one if all connections are busy.
   * @param isAsking sends ASKING before it
   * @param needsReplica whether `replicated` has to say that a replica has the write
   * @param reject gets ConnectionLost, Redis' error reply, or DialogsError NOT_REPLICATED if no
   * replica would acknowledge the write
   */
  send(
    args: readonly string[],
    isAsking: boolean,
    needsReplica: boolean,
    resolve: (written: Written) => void,
    reject: (error: unknown) => void
  ): void {
    // Only a command that waits for a replica may be the one that tries whether there is one again:
    // any other would take its turn and learn nothing.
    const refusal = needsReplica ? this.#replication?.refusal : undefined
    if (refusal !== undefined) return reject(refusal)
    const command = new Command(
      args,
      isAsking,
      needsReplica && this.#replication !== undefined,
      resolve,
      reject
    )
    const group = this.#gathering ?? this.#begin()
    if (group === undefined) this.#queue.push(command)
    else this.#add(group, command)
  }

  // The connection writes at the end of the turn, and the WAIT must be among what it writes. It is,
  // because the connection sets its own immediate after the one that is set here.
  #begin(): Group | undefined {
    const link = this.#free.pop()
    if (link === undefined) return undefined
    const connection = link.current
    if (connection === undefined) {
      void this.#open(link)
      return undefined
    }
    let settle: (outcome: Promise<void>) => void = nothing
    const replicated =
      this.#replication !== undefined
        ? new Promise<void>(resolve => {
            settle = resolve
          })
        : ALREADY
    // Every caller gets this promise. If none of them awaits it, a rejection must not count as
    // unhandled.
    replicated.catch(nothing)
    const group: Group = {
      link,
      connection,
      replicated,
      settle,
      length: 0,
      unanswered: 0,
      isSealed: false,
      needsReplica: false,
      onAnswered: this.#releaseGroup
    }
    this.#gathering = group
    setImmediate(() => {
      this.#seal(group)
    })
    return group
  }

  async #open(link: Link): Promise<void> {
    try {
      await link.open()
    } catch (error) {
      for (const command of this.#queue.splice(0)) command.failed(error)
    }
    this.#release(link)
  }

  #add(group: Group, command: Command): void {
    command.dispatch(group)
    if (group.length === GROUP_LENGTH_MAX) this.#seal(group)
  }

  #seal(group: Group): void {
    if (group.isSealed) return
    group.isSealed = true
    this.#gathering = undefined
    if (this.#replication !== undefined && group.needsReplica) {
      // The WAIT is answered after the commands, and fails if they do.
      this.#acknowledge(group, this.#replication)
      return
    }
    group.settle(ALREADY)
    if (group.unanswered === 0) this.#release(group.link)
  }

  readonly #releaseGroup = ({ link }: Group): void => {
    this.#release(link)
  }

  #acknowledge({ link, connection, settle }: Group, replication: Replication): void {
    const outcome = replication.acknowledged(connection)
    settle(outcome)
    const release = (): void => {
      this.#release(link)
    }
    outcome.then(release, release)
  }

  #release(link: Link): void {
    this.#free.push(link)
    const refusal = this.#queue.some(isForReplica) ? this.#replication?.refusal : undefined
    if (refusal !== undefined) {
      for (const command of this.#queue.splice(0)) {
        if (command.needsReplica) command.failed(refusal)
        else this.#queue.push(command)
      }
    }
    while (this.#queue.length > 0) {
      const group = this.#gathering ?? this.#begin()
      if (group === undefined) return
      for (const command of this.#queue.splice(0, GROUP_LENGTH_MAX - group.length)) {
        this.#add(group, command)
      }
    }
  }
}
