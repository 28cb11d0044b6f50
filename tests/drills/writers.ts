// Many who write at once: each as fast as it is answered, or each at a rate of its own, over several services in turn. At a rate the
// loop is open: a message is sent when it is due, however long others take, and its latency counts from then. Only when very many are under
// way does the next one wait, still counted from when it was due.
// Invariant: every message that was begun ends in the ledger with its outcome, before `stop` resolves.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'undici'
import { post } from '../../src/cli/post.js'
import { type Ledger, type Sent } from './ledger.js'

export type Writer = {
  readonly user: string
  readonly rooms: readonly string[]
  /** Messages a second; unset: the next one when the last is answered. */
  readonly perSecond?: number
}

export type WritersOptions = {
  readonly urls: readonly string[]
  readonly writers: readonly Writer[]
  readonly ledger: Ledger
  readonly random: () => number
  /** Sends an Idempotency-Key with every message, and repeats what was not answered, or with 5xx, at the next service. */
  readonly isRepeating?: boolean
  /** Ends by itself after so many. */
  readonly messagesMax?: number
  readonly textBytes?: number
}

const TEXT_BYTES = 100
const TICK_MS = 5
/** No more connections than a busy machine accepts. */
const UNDER_WAY_MAX = 400
const PAUSE_MS = 50
/** Above the service's own deadline: what it owes an answer to by then has broken its promise. */
const ANSWER_MS_MAX = 30_000
const REPEATS_MAX = 100

export class Writers {
  readonly #options: WritersOptions
  readonly #idle: Client[][]
  readonly #clients = new Set<Client>()
  readonly #isOver = new AbortController()
  #underWay = 0
  #turn = 0
  #running: Promise<unknown> | undefined

  constructor (options: WritersOptions) {
    this.#options = options
    this.#idle = options.urls.map(() => [])
  }

  start (): this {
    this.#running = Promise.all(this.#options.writers.map(writer => writer.perSecond === undefined ? this.#writeOnAndOn(writer) : this.#writeAtRate(writer, writer.perSecond)))
    return this
  }

  /** Resolves when `messagesMax` are answered. */
  async done (): Promise<void> {
    await this.#running
    while (this.#underWay > 0) await sleep(TICK_MS)
  }

  /** No message is begun any more; resolves when all have their outcome. */
  async stop (): Promise<void> {
    this.#isOver.abort()
    await this.done()
    await Promise.all([...this.#clients].map(client => client.destroy()))
  }

  get #isAtEnd (): boolean {
    const { ledger, messagesMax = Infinity } = this.#options
    return this.#isOver.signal.aborted || ledger.all.length >= messagesMax
  }

  async #writeOnAndOn (writer: Writer): Promise<void> {
    while (!this.#isAtEnd) {
      const sent = this.#compose(writer, performance.now())
      await this.#send(sent)
      // A service that is gone would otherwise be called as fast as the loop turns.
      if (sent.outcome?.isAcknowledged !== true) await sleep(PAUSE_MS)
    }
  }

  async #writeAtRate (writer: Writer, perSecond: number): Promise<void> {
    const periodMs = 1000 / perSecond
    // Each begins at another moment: together they would come in bursts.
    let dueMs = performance.now() + this.#options.random() * periodMs
    while (!this.#isAtEnd) {
      for (; dueMs <= performance.now() && this.#underWay < UNDER_WAY_MAX && !this.#isAtEnd; dueMs += periodMs) void this.#send(this.#compose(writer, dueMs))
      await sleep(Math.max(TICK_MS, dueMs - performance.now()))
    }
  }

  #compose ({ user, rooms }: Writer, dueMs: number): Sent {
    const { ledger, random, textBytes = TEXT_BYTES } = this.#options
    return ledger.compose(rooms[Math.floor(random() * rooms.length)] ?? '', user, textBytes, dueMs)
  }

  async #send (sent: Sent): Promise<void> {
    const { ledger, isRepeating = false } = this.#options
    const key = isRepeating ? randomUUID() : undefined
    this.#underWay++
    try {
      for (let repeats = 0; ; repeats++) {
        const outcome = await this.#attempt(sent, key, repeats > 0)
        if (outcome.isAcknowledged || key === undefined || !outcome.isWorthRetrying || repeats === REPEATS_MAX) return ledger.answer(sent, outcome)
        await sleep(PAUSE_MS)
      }
    } finally {
      this.#underWay--
    }
  }

  // A connection carries one message at a time, and is used again.
  async #attempt (sent: Sent, key: string | undefined, isRepeated: boolean): ReturnType<typeof post> {
    const { urls } = this.#options
    const index = this.#turn++ % urls.length
    const client = this.#idle[index]?.pop() ?? this.#open(urls[index] ?? '')
    try {
      return await post(client, sent, { basePath: '', key, isRepeated })
    } finally {
      this.#idle[index]?.push(client)
    }
  }

  #open (url: string): Client {
    const client = new Client(url, { headersTimeout: ANSWER_MS_MAX, bodyTimeout: ANSWER_MS_MAX })
    this.#clients.add(client)
    return client
  }
}
