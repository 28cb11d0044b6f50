// Reads pages of history from random places, over and over, while everything else happens. Each
// page must be contiguous, complete up to its limit or the head, and equal to what the streams
// bring.
import { setTimeout as sleep } from 'node:timers/promises'
import { type StoredMessage } from './stored.js'
import { type Transcript } from './transcript.js'

const LIMIT = 100
const PAUSE_MS = 100

export class Pager {
  readonly #transcripts: readonly Transcript[]
  readonly #urls: readonly string[]
  readonly #random: () => number
  readonly #headers: Readonly<Record<string, string>>
  #isStopped = false
  #running: Promise<void> | undefined
  pages = 0
  readonly violations: string[] = []

  constructor(
    transcripts: readonly Transcript[],
    urls: readonly string[],
    random: () => number,
    headers: Readonly<Record<string, string>> = {}
  ) {
    this.#transcripts = transcripts
    this.#urls = urls
    this.#random = random
    this.#headers = headers
  }

  start(): this {
    this.#running = this.#run()
    return this
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    for (let turn = 0; !this.#isStopped; turn++) {
      const transcript = this.#transcripts[Math.floor(this.#random() * this.#transcripts.length)]
      if (transcript !== undefined) {
        await this.#read(transcript, this.#urls[turn % this.#urls.length] ?? '')
      }
      await sleep(PAUSE_MS)
    }
  }

  async #read(transcript: Transcript, url: string): Promise<void> {
    const { room } = transcript
    const after = Math.floor(this.#random() * (transcript.length + 1))
    let page: { head: number; messages: StoredMessage[] }
    try {
      const response = await fetch(
        `${url}/rooms/${encodeURIComponent(room)}/messages?after=${after}&limit=${LIMIT}`,
        { headers: this.#headers }
      )
      if (response.status === 503) return
      // The cast follows the documented shape of a page. Each message is checked below.
      page = (await response.json()) as { head: number; messages: StoredMessage[] }
    } catch {
      return // the service was killed
    }
    this.pages++
    const { head, messages } = page
    const expected = Math.max(0, Math.min(LIMIT, head - after))
    if (messages.length !== expected) {
      this.violations.push(
        `page of ${room} after ${after} has ${messages.length} messages, the head is ${head}`
      )
    }
    for (const [index, { seq, text }] of messages.entries()) {
      const seen = transcript.text(seq)
      if (seq !== after + 1 + index) {
        this.violations.push(`page of ${room} after ${after} has ${seq} at place ${index}`)
      } else if (text === undefined) this.violations.push(`page of ${room} calls ${seq} lost`)
      else if (seen !== undefined && seen !== text) {
        this.violations.push(`page of ${room} has ${text} at ${seq}, the streams ${seen}`)
      }
    }
  }
}
