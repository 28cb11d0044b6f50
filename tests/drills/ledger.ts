// What was sent, and what was answered: one entry for each message, kept to the end.
// Invariant: each text is sent as one message only (however often it is repeated under its key), so that a text which is found twice in
// the store was stored twice.
import { randomUUID } from 'node:crypto'
import { type Outcome } from '../../src/cli/post.js'
import { Samples } from './samples.js'

export type Sent = {
  readonly room: string
  readonly user: string
  readonly text: string
  /** When it was meant to be sent, on the clock of performance.now(). */
  readonly dueMs: number
  /** When it was sent for the first time; later than it was due when too many were under way. */
  sentMs: number
  outcome: Outcome | undefined
  answeredMs: number
}

const PROSE = 'the quick brown fox jumps over the lazy dog and everyone in the room sees it in the same order '

export class Ledger {
  readonly all: Sent[] = []
  /** Milliseconds from when a message was due to its acknowledgement, at the time it was due. */
  readonly postMs = new Samples()
  acknowledged = 0
  failed = 0
  readonly #run = randomUUID().slice(0, 8)

  /** A message that nobody has sent before. Its text tells its place in this ledger, and the time. */
  compose (room: string, user: string, textBytes: number, dueMs: number): Sent {
    const head = `${this.#run} #${this.all.length} @${dueMs.toFixed(2)} `
    const sent = { room, user, text: head + PROSE.repeat(Math.ceil(textBytes / PROSE.length)).slice(0, Math.max(0, textBytes - head.length)), dueMs, sentMs: performance.now(), outcome: undefined, answeredMs: 0 }
    this.all.push(sent)
    return sent
  }

  answer (sent: Sent, outcome: Outcome): void {
    sent.outcome = outcome
    sent.answeredMs = performance.now()
    if (outcome.isAcknowledged) {
      this.acknowledged++
      this.postMs.add(sent.dueMs, sent.answeredMs - sent.dueMs)
    } else {
      this.failed++
    }
  }

  /** The entry that a text belongs to; undefined for a text that was not sent by this ledger. */
  find (text: string): Sent | undefined {
    const [run, number] = text.split(' ', 2)
    if (run !== this.#run || number === undefined) return undefined
    const sent = this.all[Number(number.slice(1))]
    return sent?.text === text ? sent : undefined
  }

  get rooms (): string[] {
    return [...new Set(this.all.map(({ room }) => room))].sort()
  }
}

/** When a text of a ledger was due; NaN for any other. */
export function dueMsOf (text: string): number {
  const at = text.indexOf('@')
  return at < 0 ? Number.NaN : Number.parseFloat(text.slice(at + 1))
}
