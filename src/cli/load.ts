// Posts messages over a number of connections, as fast as the service answers or at a fixed rate,
// until a count, a time or `stop`; some are changed or deleted as soon as they are acknowledged.
// Invariant: at most one message is in flight per connection, every message sent ends in exactly
// one callback, and so does every change. At a fixed rate the loop is open: message i is
// due at i / rate, and its latency counts from then. So a stalling service is charged for all
// messages that would have had to wait (no coordinated omission). Counts and prints nothing.
import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'undici'
import { backoffMs } from '../backoff.js'
import { type Fate } from './fates.js'
import { change, type Draft, type Outcome, post } from './post.js'

export type LoadOptions = {
  /** Base URL of the service, http or https, with or without a path. */
  readonly url: string
  /** Makes the message of an index; called once for 0, 1, 2 … in this order. */
  readonly compose: (index: number) => Draft
  readonly connections: number
  /** How many messages. Undefined: until the time is over or `stop`. */
  readonly count?: number | undefined
  readonly durationMs?: number | undefined
  /** Messages per second. Undefined: each connection sends when its last message is answered. */
  readonly rate?: number | undefined
  /**
   * Sends an Idempotency-Key, and repeats with the same key what failed with 5xx or without an
   * answer.
   */
  readonly isIdempotent?: boolean | undefined
  /** How long one attempt may take; default 10 s. */
  readonly attemptMsMax?: number | undefined
  /**
   * How long a message is repeated before it counts as failed. The default of 30 s is longer than a
   * failover.
   */
  readonly retryMsMax?: number | undefined
  /** For a service that requires tokens: the user's, or an operator's for many users. */
  readonly token?: string | undefined
  /** What happens to the message of an index after it was acknowledged; default: nothing. */
  readonly fateOf?: ((index: number) => Fate) | undefined
  readonly onChanged?: ((message: Acknowledged, fate: Fate) => void) | undefined
  readonly onAcknowledged?: ((message: Acknowledged) => void) | undefined
  readonly onFailed?: ((message: Failed) => void) | undefined
}

type Sent = Draft & {
  readonly index: number
  readonly attempts: number
  readonly latencyMs: number
}
export type Acknowledged = Sent & { readonly seq: number; readonly at: string }
/**
 * `status` is undefined if there was no answer; `code` and `reason` then come from the system,
 * otherwise from the service.
 */
export type Failed = Sent & {
  readonly status: number | undefined
  readonly code: string
  readonly reason: string
}

const ATTEMPT_MS_MAX = 10_000
const RETRY_MS_MAX = 30_000
const PAUSE_MS_MIN = 50
const PAUSE_MS_MAX = 2_000
const OVERTIME_MS = 100
// An answer repeats the message; no valid answer is close to this size.
const ANSWER_BYTES_MAX = 1024 * 1024

export class Load {
  readonly #options: LoadOptions
  readonly #basePath: string
  readonly #run = randomUUID()
  readonly #countMax: number
  readonly #clients = new Set<Client>()
  readonly #stop = new AbortController()
  readonly #abort = new AbortController()
  #taken = 0
  #sent = 0
  #startedMs = 0
  #stoppedMs: number | undefined

  constructor(options: LoadOptions) {
    this.#options = options
    const scheduled =
      options.rate === undefined || options.durationMs === undefined
        ? Infinity
        : Math.ceil((options.rate * options.durationMs) / 1000)
    this.#countMax = Math.min(options.count ?? Infinity, scheduled)
    this.#basePath = new URL(options.url).pathname.replace(/\/$/, '')
    // Each connection may wait for both, and Node warns about more than ten listeners.
    setMaxListeners(0, this.#stop.signal, this.#abort.signal)
  }

  /** Messages sent, counting repeated ones once. */
  get sent(): number {
    return this.#sent
  }

  /**
   * Messages that were due when it stopped but had no free connection: the number by which the
   * service fell behind the rate.
   */
  get overdue(): number {
    if (this.#options.rate === undefined || this.#startedMs === 0) return 0
    const elapsedMs = (this.#stoppedMs ?? performance.now()) - this.#startedMs
    return Math.max(
      0,
      Math.min(this.#countMax, Math.floor((elapsedMs * this.#options.rate) / 1000)) - this.#sent
    )
  }

  /**
   * Sends until it is done or stopped, and resolves when everything sent has had its callback. May
   * be called once.
   */
  async run(): Promise<void> {
    this.#startedMs = performance.now()
    const { rate, durationMs, connections } = this.#options
    // At a fixed rate the schedule ends by itself; the timer is for a service that falls behind.
    const stopAfterMs =
      durationMs === undefined ? undefined : durationMs + (rate === undefined ? 0 : OVERTIME_MS)
    const timer =
      stopAfterMs === undefined
        ? undefined
        : setTimeout(() => {
            this.stop()
          }, stopAfterMs)
    try {
      await Promise.all(
        Array.from({ length: Math.min(connections, this.#countMax) }, () => this.#work())
      )
    } finally {
      clearTimeout(timer)
      this.stop()
    }
  }

  /** Starts no more messages; waits for those in flight, including their retries. */
  stop(): void {
    this.#stoppedMs ??= performance.now()
    this.#stop.abort()
  }

  /**
   * Stops and gives up what is in flight: it fails with `UND_ERR_DESTROYED`, or like its last
   * attempt.
   */
  abort(): void {
    this.stop()
    this.#abort.abort()
    for (const client of this.#clients) client.destroy()
  }

  // One connection, one message at a time.
  async #work(): Promise<void> {
    const { url, compose, attemptMsMax = ATTEMPT_MS_MAX } = this.#options
    const client = new Client(new URL(url).origin, {
      connectTimeout: attemptMsMax,
      headersTimeout: attemptMsMax,
      bodyTimeout: attemptMsMax,
      maxResponseSize: ANSWER_BYTES_MAX
    })
    this.#clients.add(client)
    try {
      while (!this.#stop.signal.aborted && this.#taken < this.#countMax) {
        const index = this.#taken++
        const draft = compose(index)
        const fromMs = await this.#due(index)
        if (!this.#stop.signal.aborted) await this.#send(client, index, draft, fromMs)
      }
    } finally {
      this.#clients.delete(client)
      await client.destroy()
    }
  }

  // Waits until a message is due. Returns the time from which its latency counts.
  async #due(index: number): Promise<number> {
    if (this.#options.rate === undefined) return performance.now()
    const dueMs = this.#startedMs + (index * 1000) / this.#options.rate
    const waitMs = dueMs - performance.now()
    if (waitMs > 0) await pause(waitMs, this.#stop.signal)
    // Timers count whole milliseconds, so a message may leave a fraction of one early.
    return Math.min(dueMs, performance.now())
  }

  async #send(client: Client, index: number, draft: Draft, fromMs: number): Promise<void> {
    this.#sent++
    const key = this.#options.isIdempotent === true ? `${this.#run}-${index + 1}` : undefined
    const retryUntilMs = performance.now() + (this.#options.retryMsMax ?? RETRY_MS_MAX)
    const { outcome, attempts } = await this.#repeatedly(retryUntilMs, isRepeated =>
      post(client, draft, { ...this.#attempt(key), isRepeated })
    )
    const sent: Sent = { ...draft, index, attempts, latencyMs: performance.now() - fromMs }
    this.#report(outcome, sent)
    if (outcome.isAcknowledged) await this.#change(client, { ...sent, ...outcome }, key)
    // Without the pause, a service that is gone would be called again and again at once.
    else if (outcome.status === undefined) await pause(PAUSE_MS_MIN, this.#stop.signal)
  }

  async #change(client: Client, message: Acknowledged, key: string | undefined): Promise<void> {
    const { fateOf, onChanged, retryMsMax = RETRY_MS_MAX } = this.#options
    const fate = fateOf?.(message.index) ?? 'kept'
    if (fate === 'kept') return
    const fromMs = performance.now()
    const text = fate === 'deleted' ? undefined : `${message.text} (changed)`
    const attempt = this.#attempt(key === undefined ? undefined : `${key}-${fate}`)
    const { outcome, attempts } = await this.#repeatedly(fromMs + retryMsMax, () =>
      change(client, message, text, attempt)
    )
    if (outcome.isAcknowledged) onChanged?.(message, fate)
    else this.#report(outcome, { ...message, attempts, latencyMs: performance.now() - fromMs })
  }

  #attempt(key: string | undefined): {
    readonly basePath: string
    readonly key: string | undefined
    readonly token: string | undefined
  } {
    return { basePath: this.#basePath, key, token: this.#options.token }
  }

  async #repeatedly(
    retryUntilMs: number,
    send: (isRepeated: boolean) => Promise<Outcome>
  ): Promise<{ readonly outcome: Outcome; readonly attempts: number }> {
    for (let attempts = 1; ; attempts++) {
      const outcome = await send(attempts > 1)
      if (!(await this.#isTimeToRetry(outcome, attempts, retryUntilMs))) {
        return { outcome, attempts }
      }
    }
  }

  // Waits until the next attempt is due; returns false at once if there is to be none. `stop` does
  // not end this, because the message would count as failed although it may be stored.
  async #isTimeToRetry(outcome: Outcome, attempts: number, retryUntilMs: number): Promise<boolean> {
    // Without a key, a message that may be stored would be stored twice.
    if (outcome.isAcknowledged || !outcome.isWorthRetrying || this.#options.isIdempotent !== true) {
      return false
    }
    const pauseMs = Math.max(
      backoffMs(attempts - 1, PAUSE_MS_MIN, PAUSE_MS_MAX),
      outcome.retryAfterMs
    )
    if (performance.now() + pauseMs >= retryUntilMs) return false
    await pause(pauseMs, this.#abort.signal)
    return !this.#abort.signal.aborted
  }

  #report(outcome: Outcome, sent: Sent): void {
    if (outcome.isAcknowledged) {
      this.#options.onAcknowledged?.({ ...sent, seq: outcome.seq, at: outcome.at })
    } else {
      this.#options.onFailed?.({
        ...sent,
        status: outcome.status,
        code: outcome.code,
        reason: outcome.reason
      })
    }
  }
}

/** Resolves after the time, or at once on the signal; the caller checks the signal. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
