// What a master says about its replicas: how many acknowledge (WAIT), and how many are connected
// (INFO replication). Invariant: if an answer leaves open whether the node is still the master, it
// becomes a ConnectionLost, because the outcome of what was written before is then unknown.
import { type Connection, ConnectionLost, isRedisError } from './connection.js'
import { nextStep } from './redirect.js'

export type Sender = Pick<Connection, 'send'>

/** What a node says about its replicas; undefined if INFO is not allowed. */
export type ReplicaState = {
  readonly role: string
  readonly online: number
  /** Connected, and still receiving the data set. */
  readonly synchronizing: number
  /** Seconds since an online replica last sent its offset: the smallest of all replicas. */
  readonly lagS: number
}

export class Replicas {
  readonly #onRefused: (error: unknown) => void
  #isInfoDenied = false

  /** @param onRefused called if Redis denies WAIT, which alone tells what a replica has */
  constructor(onRefused: (error: unknown) => void) {
    this.#onRefused = onRefused
  }

  /**
   * How many replicas have everything that was written on this connection. Waits until there are
   * `acks` of them, for at most `ms`.
   * @throws ConnectionLost when the node may no longer be the master
   */
  async acknowledging(connection: Sender, acks: number, ms: number): Promise<number> {
    try {
      return Number(await connection.send(['WAIT', String(acks), String(ms)]))
    } catch (error) {
      if (!isRedisError(error)) throw error
      // The node became a replica between the write and the WAIT, so what was written may be lost.
      if (error.message.includes('WAIT cannot be used with replica')) {
        throw new ConnectionLost('The node is no longer a master', { cause: error })
      }
      const step = nextStep(error, '')
      if (step.kind === 'give-up') {
        this.#onRefused(step.error)
        throw step.error
      }
      // UNBLOCKED: the node became a replica during the WAIT. To the caller that is the same as a
      // broken connection.
      throw new ConnectionLost(`The wait for replicas ended: ${error.message}`, { cause: error })
    }
  }

  /**
   * What the node says about its replicas; undefined if INFO is denied.
   * @throws ConnectionLost when it does not answer
   */
  async state(connection: Sender): Promise<ReplicaState | undefined> {
    if (this.#isInfoDenied) return undefined
    try {
      return parseReplication(String(await connection.send(['INFO', 'replication'])))
    } catch (error) {
      if (!isRedisError(error)) throw error
      if (nextStep(error, '').kind !== 'give-up') {
        throw new ConnectionLost(`The node does not report its replicas: ${error.message}`, {
          cause: error
        })
      }
      this.#isInfoDenied = true
      return undefined
    }
  }
}

/** Parses `INFO replication` (https://redis.io/commands/info). */
export function parseReplication(info: string): ReplicaState {
  const replicas = [...info.matchAll(/^slave\d+:(.*)$/gm)].map(([, fields = '']) => fields)
  const online = replicas.filter(fields => fields.includes('state=online'))
  return {
    role: /^role:(\w+)/m.exec(info)?.[1] ?? 'unknown',
    online: online.length,
    synchronizing: replicas.length - online.length,
    lagS: Math.min(...online.map(fields => Number(/\blag=(\d+)/.exec(fields)?.[1] ?? Infinity)))
  }
}
