// Many concurrent writers. Each sends as soon as its last message was answered, or at a rate of its
// own, to several services in turn. With a rate the loop is open: a message is sent when it is due,
// however long others take, and its latency counts from then. Only if very many are in flight does
// the next one wait, and its latency still counts from when it was due. Invariant: every message
// that was started has its outcome in the ledger before `stop` resolves.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'undici'
import { post } from '../../src/cli/post.js'
import { type Ledger, type Sent } from './ledger.js'

export type Writer = {
  readonly user: string
  readonly rooms: readonly string[]
  /** Messages per second. Unset: the next one is sent as soon as the last was answered. */
  readonly perSecond?: number
}

export type WritersOptions = {
  readonly urls: readonly string[]
  readonly writers: readonly Writer[]
  readonly ledger: Ledger
  readonly random: () => number
  /**
   * Sends an Idempotency-Key with every message, and repeats a message at the next service after a
   * 5xx or no answer.
   */
  readonly isRepeating?: boolean
  /** The writer ends by itself after this many messages. */
  readonly messagesMax?: number
  readonly textBytes?: number
  /** For services that ask for one. */
  readonly token?: string | undefined
}

const TEXT_BYTES = 100
const TICK_MS = 5
/** As many connections as even a busy machine accepts. */
const IN_FLIGHT_MAX = 400
const PAUSE_MS = 50
/** Longer than the service's own deadline: a POST that has no answer by then broke its promise. */
const ANSWER_MS_MAX = 30_000
const REPEATS_MAX = 100

export class Writers {
  readonly #options: WritersOptions
  readonly #idle: Client[][]
  readonly #clients = new Set<Client>()
  readonly #isOver = new AbortController()
  #inFlight = 0
  #turn = 0
  #running: Promise<unknown> | undefined

  constructor(options: WritersOptions) {
    this.#options = options
    this.#idle = options.urls.map(() => [])
  }

  start(): this {
    this.#running = Promise.all(
      this.#options.writers.map(writer =>
        writer.perSecond === undefined
          ? this.#writeOnAndOn(writer)
          : this.#writeAtRate(writer, writer.perSecond)
      )
    )
    return this
  }

  /** Resolves when `messagesMax` are answered. */
  async done(): Promise<void> {
    await this.#running
    while (this.#inFlight > 0) await sleep(TICK_MS)
  }

  /** Starts no more messages; resolves when all have their outcome. */
  async stop(): Promise<void> {
    this.#isOver.abort()
    await this.done()
    await Promise.all([...this.#clients].map(client => client.destroy()))
  }

  get #isAtEnd(): boolean {
    const { ledger, messagesMax = Infinity } = this.#options
    return this.#isOver.signal.aborted || ledger.all.length >= messagesMax
  }

  async #writeOnAndOn(writer: Writer): Promise<void> {
    while (!this.#isAtEnd) {
      const sent = this.#compose(writer, performance.now())
      await this.#send(sent)
      // Without this pause, a service that is gone would be called in a tight loop.
      if (sent.outcome?.isAcknowledged !== true) await sleep(PAUSE_MS)
    }
  }

  async #writeAtRate(writer: Writer, perSecond: number): Promise<void> {
    const periodMs = 1000 / perSecond
    // Each writer starts at a different moment, so that they do not send in bursts.
    let dueMs = performance.now() + this.#options.random() * periodMs
    while (!this.#isAtEnd) {
      for (
        ;
        dueMs <= performance.now() && this.#inFlight < IN_FLIGHT_MAX && !this.#isAtEnd;
        dueMs += periodMs
      ) {
        void this.#send(this.#compose(writer, dueMs))
      }
      await sleep(Math.max(TICK_MS, dueMs - performance.now()))
    }
  }

  #compose({ user, rooms }: Writer, dueMs: number): Sent {
    const { ledger, random, textBytes = TEXT_BYTES } = this.#options
    return ledger.compose(rooms[Math.floor(random() * rooms.length)] ?? '', user, textBytes, dueMs)
  }

  async #send(sent: Sent): Promise<void> {
    const { ledger, isRepeating = false } = this.#options
    const key = isRepeating ? randomUUID() : undefined
    this.#inFlight++
    try {
      for (let repeats = 0; ; repeats++) {
        const outcome = await this.#attempt(sent, key, repeats > 0)
        if (
          outcome.isAcknowledged ||
          key === undefined ||
          !outcome.isWorthRetrying ||
          repeats === REPEATS_MAX
        ) {
          return ledger.answer(sent, outcome)
        }
        await sleep(PAUSE_MS)
      }
    } finally {
      this.#inFlight--
    }
  }

  // A connection carries one message at a time, and is reused.
  async #attempt(
    sent: Sent,
    key: string | undefined,
    isRepeated: boolean
  ): ReturnType<typeof post> {
    const { urls } = this.#options
    const index = this.#turn++ % urls.length
    sent.service = urls[index] ?? ''
    const client = this.#idle[index]?.pop() ?? this.#open(urls[index] ?? '')
    try {
      return await post(client, sent, {
        basePath: '',
        key,
        token: this.#options.token,
        isRepeated
      })
    } finally {
      this.#idle[index]?.push(client)
    }
  }

  #open(url: string): Client {
    const client = new Client(url, { headersTimeout: ANSWER_MS_MAX, bodyTimeout: ANSWER_MS_MAX })
    this.#clients.add(client)
    return client
  }
}
