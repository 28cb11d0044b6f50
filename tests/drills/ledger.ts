// One entry for each message: what was sent and what was answered. Kept to the end. Invariant: each
// text belongs to one message only, however often that message is repeated under its key. So a text
// that is found twice in the store was stored twice.
import { randomUUID } from 'node:crypto'
import { type Outcome } from '../../src/cli/post.js'
import { Samples } from './samples.js'

export type Sent = {
  readonly room: string
  readonly user: string
  readonly text: string
  /** When it was due to be sent, on the clock of performance.now(). */
  readonly dueMs: number
  /** When it was first sent; later than due if too many messages were in flight. */
  sentMs: number
  /** The URL of the service that it was last sent to. */
  service: string
  outcome: Outcome | undefined
  answeredMs: number
}

const PROSE =
  'the quick brown fox jumps over the lazy dog and everyone in the room sees it in the same order '

export class Ledger {
  readonly all: Sent[] = []
  /**
   * The latency of each acknowledged message in ms, from when it was due, recorded at the time of
   * the acknowledgement.
   */
  readonly postMs = new Samples()
  acknowledged = 0
  failed = 0
  readonly #run = randomUUID().slice(0, 8)

  /** Makes a new message. Its text contains its index in this ledger and its time. */
  compose(room: string, user: string, textBytes: number, dueMs: number): Sent {
    const head = `${this.#run} #${this.all.length} @${dueMs.toFixed(2)} `
    const sent = {
      room,
      user,
      text:
        head +
        PROSE.repeat(Math.ceil(textBytes / PROSE.length)).slice(
          0,
          Math.max(0, textBytes - head.length)
        ),
      dueMs,
      sentMs: performance.now(),
      service: '',
      outcome: undefined,
      answeredMs: 0
    }
    this.all.push(sent)
    return sent
  }

  answer(sent: Sent, outcome: Outcome): void {
    sent.outcome = outcome
    sent.answeredMs = performance.now()
    if (outcome.isAcknowledged) {
      this.acknowledged++
      this.postMs.add(sent.dueMs, sent.answeredMs - sent.dueMs)
    } else {
      this.failed++
    }
  }

  /** The entry of a text; undefined if the text is not from this ledger. */
  find(text: string): Sent | undefined {
    const [run, number] = text.split(' ', 2)
    if (run !== this.#run || number === undefined) return undefined
    const sent = this.all[Number(number.slice(1))]
    return sent?.text === text ? sent : undefined
  }

  get rooms(): string[] {
    return [...new Set(this.all.map(({ room }) => room))].sort()
  }
}

/** When the message with this text was due; NaN if the text is from no ledger. */
export function dueMsOf(text: string): number {
  const at = text.indexOf('@')
  return at < 0 ? Number.NaN : Number.parseFloat(text.slice(at + 1))
}
