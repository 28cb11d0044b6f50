// Whether the writes of one master are on a replica. After each group of writes it sends a WAIT. If
// no replica acknowledges, it asks the rest of the cluster. Invariant: a write is safe if a replica
// has it, or if the majority of the masters still considers this node a master and no replica could
// take its place. In the second case the shard goes on alone, and this is reported. If the others
// see a replica that does not acknowledge, writes are refused: after a moment every write is
// refused before it is sent, except for one group now and then that tries whether the replica is
// back.
import { DialogsError } from '../errors.js'
import { ConnectionLost } from './connection.js'
import { Replicas, type ReplicaState, type Sender } from './replicas.js'

/** What the majority of the masters says about one of them. */
export type Standing = {
  readonly isMaster: boolean
  /** Replicas that the majority neither considers failed nor suspects, by `host:port`. */
  readonly replicas: readonly string[]
}

export type ReplicationOptions = {
  /** How many replicas have to acknowledge, if that many are connected. */
  readonly acks: number
  readonly deadlineMs: number
  /** @throws ConnectionLost when no majority of the masters answers */
  readonly standing: () => Promise<Standing>
  /** Whether a replica is loading its data, so that it can neither acknowledge nor take over. */
  readonly isLoading: (replica: string) => Promise<boolean>
  readonly onDegraded: (isDegraded: boolean) => void
  /** Redis denies WAIT. */
  readonly onRefused: (error: unknown) => void
}

/** How long a WAIT may hold up the connection: the next writes wait behind it. */
const WAIT_MS = 500
/** The same after no replica has acknowledged in that time, so that the others are asked often. */
const WAIT_AGAIN_MS = 150
/**
 * How long a replica that the others see may take to acknowledge before writes are refused. With a
 * cluster-node-timeout of 2 s most masters suspect a dead node after 2 to 3 s.
 */
const PATIENCE_MS = 3_000
/** A replica that reports its offset but has not acknowledged after this long is lagging. */
const LAG_MS = 2_000
/**
 * How long a decision of the other masters holds. Less than any sensible cluster-node-timeout: a
 * master that was cut off and replaced cannot have been confirmed this recently.
 */
const CONFIRMED_FOR_MS = 1_000
/** A lagging replica gets another chance to acknowledge this often. */
const LAGGING_FOR_MS = 5_000
/**
 * How long a replica may take to come back after its connection broke: it may only have been
 * restarted.
 */
const AWAY_MS = 5_000
const PROBE_MS = 500
/**
 * How long a replica that had failed may take to acknowledge after the others see it again: TCP
 * resends a lost packet at growing intervals of up to minutes.
 */
const BACK_MS_MAX = 30_000
const BACK_WAIT_MS = 50

export class Replication {
  readonly #options: ReplicationOptions
  readonly #replicas: Replicas
  readonly #patienceMs: number
  /**
   * How many replicas to wait for: as many as wanted, or fewer if the others are known to be away.
   */
  #needed = 0
  /**
   * Until when the decision to go on with fewer replicas than wanted holds, and how many were
   * connected when it was made.
   */
  #decidedUntil = -Infinity
  #onlineThen = 0
  #laggingUntil = -Infinity
  /** Until when a replica that the others see again is waited for only briefly (BACK_WAIT_MS). */
  #backUntil: number | undefined
  /** Whether the shard goes on without a replica. This was reported. */
  #isAlone = false
  /** Since when no replica is connected although the other masters see one. */
  #awaySince: number | undefined
  #refusal: DialogsError | undefined
  #probeAt = 0

  constructor(options: ReplicationOptions) {
    this.#options = options
    this.#replicas = new Replicas(options.onRefused)
    this.#patienceMs = Math.min(PATIENCE_MS, options.deadlineMs)
  }

  /**
   * Why a write is not to be sent now: no replica would acknowledge it. Undefined if it is to be
   * sent; now and then also to let one group through as a try.
   */
  get refusal(): DialogsError | undefined {
    if (this.#refusal === undefined) return undefined
    const now = performance.now()
    if (now < this.#probeAt) return this.#refusal
    this.#probeAt = now + PROBE_MS
    return undefined
  }

  /**
   * Resolves when everything written on this connection is safe.
   * @throws DialogsError NOT_REPLICATED or STORE_DENIED; ConnectionLost when the node may no longer
   * be the master
   */
  async acknowledged(connection: Sender): Promise<void> {
    const { acks } = this.#options
    const sentAt = performance.now()
    // The normal case. If the shard is not known to have enough replicas, ask first and wait later:
    // a master that has just been promoted has none, and waiting for one made each failover half a
    // second longer.
    let acknowledged = this.#needed === acks ? await this.#wait(connection, acks) : 0
    if (acknowledged >= acks) return this.#settle(acks)
    for (;;) {
      const state = await this.#replicas.state(connection)
      if (state !== undefined && state.role !== 'master') {
        throw new ConnectionLost('The node is no longer a master')
      }
      const possible = Math.min(acks, state?.online ?? acks)
      if (this.#isDecided(state)) {
        if (this.#needed === 0 || (await this.#wait(connection, this.#needed)) >= this.#needed) {
          return
        }
      } else if (possible === 0) {
        return await this.#withoutReplica(state)
      } else if (
        this.#needed < possible &&
        this.#decidedUntil > -Infinity &&
        (await this.#isAsBefore(connection, possible))
      ) {
        return this.#settle(this.#needed, state?.online)
      }
      if (acknowledged < possible) {
        const ms = performance.now() - sentAt < WAIT_MS ? WAIT_MS : WAIT_AGAIN_MS
        acknowledged = await this.#wait(connection, possible, ms)
      }
      if (acknowledged >= possible) return this.#settle(possible)
      const { replicas } = await this.#standing()
      // The majority considers the other replicas failed.
      if (acknowledged >= Math.min(possible, replicas.length)) {
        return this.#settle(acknowledged, state?.online)
      }
      const waitedMs = performance.now() - sentAt
      // The replica's offsets arrive, so it is neither dead nor cut off. It only does not keep up.
      if (waitedMs >= LAG_MS && state !== undefined && state.lagS <= 1) {
        this.#laggingUntil = performance.now() + LAGGING_FOR_MS
        return this.#settle(acknowledged, state.online)
      }
      if (waitedMs >= this.#patienceMs || this.#refusal !== undefined) throw this.#refuse()
    }
  }

  // The decision does not hold any more if a replica has come (back) since: wait for it at once.
  #isDecided(state: ReplicaState | undefined): boolean {
    return (
      performance.now() < this.#decidedUntil &&
      (state?.online ?? this.#onlineThen) <= this.#onlineThen
    )
  }

  // More replicas are connected than were waited for. Checks whether the additional ones are still
  // failed, lagging or on their way back: waiting for them first would cost half a second each
  // time.
  async #isAsBefore(connection: Sender, possible: number): Promise<boolean> {
    const { replicas } = await this.#standing()
    const now = performance.now()
    if (now < this.#laggingUntil) return true
    if (Math.min(possible, replicas.length) <= this.#needed) {
      this.#backUntil = undefined
      return true
    }
    // The others see the replica again, but its connection to the master may still be waiting for a
    // TCP resend. What it has missed so far was accepted without it anyway.
    this.#backUntil ??= now + BACK_MS_MAX
    return (
      now < this.#backUntil && (await this.#wait(connection, possible, BACK_WAIT_MS)) < possible
    )
  }

  async #standing(): Promise<Standing> {
    const standing = await this.#options.standing()
    if (!standing.isMaster) {
      throw new ConnectionLost('The majority of the masters does not call the node a master')
    }
    return standing
  }

  // No replica is connected. Either the replica died, or this master was paused and a replica has
  // replaced it. In that case the writes are lost, and only the other masters know.
  async #withoutReplica(state: ReplicaState | undefined): Promise<void> {
    const { replicas } = await this.#standing()
    if (replicas.length > 0 && (state?.synchronizing ?? 0) === 0) {
      // The others see a replica that is not connected to its master. Either it was restarted a
      // moment ago, or it is loading its data, or the two are cut off from each other. Only in the
      // last case could it take over without the current writes.
      const now = performance.now()
      this.#awaySince ??= now
      if (this.#refusal !== undefined || now - this.#awaySince >= AWAY_MS) {
        const areLoading = await Promise.all(
          replicas.map(replica => this.#options.isLoading(replica))
        )
        if (areLoading.includes(false)) throw this.#refuse()
      }
    }
    this.#settle(0, 0)
  }

  async #wait(connection: Sender, acks: number, ms = WAIT_MS): Promise<number> {
    return await this.#replicas.acknowledging(connection, acks, ms)
  }

  /**
   * From now on, waits for this many replicas. If they are fewer than wanted, only for a moment.
   */
  #settle(needed: number, online = 0): void {
    this.#needed = needed
    this.#refusal = undefined
    if (needed > 0) this.#awaySince = undefined
    if (needed === this.#options.acks) this.#backUntil = undefined
    this.#decidedUntil =
      needed < this.#options.acks ? performance.now() + CONFIRMED_FOR_MS : -Infinity
    this.#onlineThen = online
    const isAlone = needed === 0
    if (isAlone !== this.#isAlone) this.#options.onDegraded(isAlone)
    this.#isAlone = isAlone
  }

  #refuse(): DialogsError {
    this.#refusal = new DialogsError(
      'NOT_REPLICATED',
      'The shard has a replica that does not acknowledge writes: try again with the same Idempotency-Key.'
    )
    this.#probeAt = performance.now() + PROBE_MS
    return this.#refusal
  }
}
