// Commands to one node, in groups: what arrived while its connections were busy goes as one pipeline, behind writes with one WAIT.
// Far fewer, larger packets: sending each command as it came cost more than everything else that a POST does.
// Invariant: `replicated` resolves only when a replica has the write, or when the master has no connected replica and the rest of
// the cluster still calls it the master. Decides nothing about where a key lives and repeats nothing: callers do.
import { DialogsError } from '../errors.js'
import { type Connection, ConnectionLost, isRedisError, type Reply } from './connection.js'
import { type Link } from './link.js'

export type Written = {
  readonly reply: Reply
  /** Rejects with DialogsError NOT_REPLICATED, or with ConnectionLost when the connection broke before the acknowledgement. */
  readonly replicated: Promise<void>
  /** An earlier attempt was lost with its connection, and so may have been carried out too. Set by Cluster, which makes the attempts. */
  readonly wasLost: boolean
}

export type ReplicationOptions = {
  /** How many replicas have to acknowledge, where so many are connected. 0 turns it off. */
  readonly acks: number
  /** How long a connected replica may take. */
  readonly deadlineMs: number
  /** Asks the rest of the cluster whether this node is still a master without a living replica. */
  readonly confirmAlone: () => Promise<boolean>
  readonly onDegraded: (isDegraded: boolean) => void
}

type Item = {
  readonly args: Array<string | Buffer>
  readonly isAsking: boolean
  readonly resolve: (written: Written) => void
  readonly reject: (error: unknown) => void
}

const ALREADY = Promise.resolve()
const nothing = (): void => {}
const GROUP_LENGTH_MAX = 512
const WAIT_MS = 500
/** Below any sensible cluster-node-timeout: a master that was cut off and replaced cannot have been confirmed so recently. */
const CONFIRMED_FOR_MS = 1000

export class NodePipeline {
  readonly #idle: Link[]
  readonly #options: ReplicationOptions
  #queue: Item[] = []
  #isScheduled = false
  /** So many replicas are connected as have to acknowledge, by what the node said last. */
  #hasEnough = false
  /** The shard goes on without a replica, and has been reported. */
  #isAlone = false
  #confirmedUntil = 0

  constructor (links: readonly Link[], options: ReplicationOptions) {
    this.#idle = [...links]
    this.#options = options
  }

  /** @param reject gets ConnectionLost, or Redis' error reply */
  send (args: Array<string | Buffer>, isAsking: boolean, resolve: (written: Written) => void, reject: (error: unknown) => void): void {
    this.#queue.push({ args, isAsking, resolve, reject })
    this.#schedule()
  }

  // setImmediate comes after all sockets of this turn were read: what came together goes together.
  #schedule (): void {
    if (this.#isScheduled || this.#idle.length === 0) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      const link = this.#queue.length === 0 ? undefined : this.#idle.pop()
      if (link === undefined) return
      const group = this.#queue.splice(0, GROUP_LENGTH_MAX)
      if (this.#queue.length > 0) this.#schedule()
      void this.#send(link, group)
    })
  }

  async #send (link: Link, group: readonly Item[]): Promise<void> {
    try {
      const connection = link.current ?? await link.open()
      await this.#pipeline(connection, group)
    } catch (error) {
      // Nothing has been sent.
      for (const item of group) item.reject(error)
    }
    this.#idle.push(link)
    if (this.#queue.length > 0) this.#schedule()
  }

  // Ends when the last command of the group is answered, and after writes when they are acknowledged or will not be. Does not reject: each item
  // is settled by its own reply, once.
  async #pipeline (connection: Connection, group: readonly Item[]): Promise<void> {
    const isWriting = this.#options.acks > 0
    let settle: (outcome: Promise<void> | undefined) => void = () => undefined
    const replicated = isWriting ? new Promise<void>(resolve => { settle = resolve }) : ALREADY
    // Every caller gets the promise; that one of them may not look at it is no unhandled rejection.
    const acknowledged = replicated.catch(() => undefined)
    await new Promise<void>(resolve => {
      for (const [index, item] of group.entries()) {
        const end = index === group.length - 1 ? resolve : nothing
        if (item.isAsking) connection.send(['ASKING']).catch(nothing)
        connection.dispatch(item.args, reply => {
          item.resolve({ reply, replicated, wasLost: false })
          end()
        }, error => {
          item.reject(error)
          end()
        })
      }
      if (isWriting) settle(this.#acknowledge(connection))
    })
    await acknowledged
  }

  async #acknowledge (connection: Connection): Promise<void> {
    const { acks, deadlineMs } = this.#options
    // A shard not known to have enough replicas is asked for them instead of waiting for them: the answer comes behind the writes. The one
    // that has just been promoted has none: waiting for it made each failover half a second longer.
    if (this.#hasEnough && await this.#wait(connection, acks) >= acks) return
    const deadline = performance.now() + deadlineMs
    do {
      const replication = parseReplication(String(await connection.send(['INFO', 'replication'])))
      this.#hasEnough = replication.role === 'master' && replication.replicasOnline >= acks
      if (replication.role !== 'master') throw new ConnectionLost('The node is no longer a master')
      const needed = Math.min(acks, replication.replicasOnline)
      if (needed === 0) return await this.#goOnAlone()
      this.#setAlone(false)
      if (await this.#wait(connection, needed) >= needed) return
    } while (performance.now() < deadline)
    throw new DialogsError('NOT_REPLICATED', `No replica acknowledged the write within ${deadlineMs} ms: try again with the same Idempotency-Key.`)
  }

  async #wait (connection: Connection, acks: number): Promise<number> {
    try {
      return Number(await connection.send(['WAIT', String(acks), String(WAIT_MS)]))
    } catch (error) {
      // UNBLOCKED: the node has become a replica while we waited. To the caller that is as good as a broken connection.
      throw isRedisError(error) ? new ConnectionLost(`The wait for replicas ended: ${error.message}`, { cause: error }) : error
    }
  }

  // No replica is connected. That is so when it died, and also when this master was stopped and has been replaced meanwhile: then
  // its writes are lost, and only the others know.
  async #goOnAlone (): Promise<void> {
    if (performance.now() > this.#confirmedUntil) {
      if (!await this.#options.confirmAlone()) throw new ConnectionLost('The node has no replica, or is no longer a master: the cluster does not agree')
      this.#confirmedUntil = performance.now() + CONFIRMED_FOR_MS
    }
    this.#setAlone(true)
  }

  #setAlone (isAlone: boolean): void {
    if (isAlone !== this.#isAlone) this.#options.onDegraded(isAlone)
    this.#isAlone = isAlone
  }
}

/** The role and the number of replicas in state `online`, from `INFO replication`. */
export function parseReplication (info: string): { role: string, replicasOnline: number } {
  return {
    role: /^role:(\w+)/m.exec(info)?.[1] ?? 'unknown',
    replicasOnline: [...info.matchAll(/^slave\d+:.*state=online/gm)].length
  }
}
