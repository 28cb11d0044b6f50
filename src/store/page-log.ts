// The log entries of a page of messages. Invariant: a replica has all of them, and `head` too
// (acknowledged-heads.ts says at which cost). Reads the order only; history.ts reads the texts.
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../backoff.js'
import { DialogsError } from '../errors.js'
import { timeOf } from '../message/message.js'
import { type AcknowledgedHeads } from './acknowledged-heads.js'
import { type Log } from './log.js'
import { type LogEntry } from './pieces.js'

export type PageAsked = {
  readonly room: string
  readonly after?: number | undefined
  readonly before?: number | undefined
  readonly limit: number
}

export type PageLog = { readonly head: number; readonly log: readonly LogEntry[] }

const PAUSE_MS_MIN = 5
const PAUSE_MS_MAX = 200

/**
 * Without `after` the page ends at `before` or at the head; with `after` it begins right after it.
 * @throws DialogsError STORE_UNAVAILABLE if the log is out of reach, or no replica acknowledges its
 * head
 */
export async function readPageLog(
  log: Log,
  heads: AcknowledgedHeads,
  asked: PageAsked,
  deadline: number
): Promise<PageLog> {
  for (let tries = 0; ; tries++) {
    const page = await read(log, asked)
    const { seq, reference } = page.head ?? { seq: 0, reference: undefined }
    const head = { seq, ms: timeOf(reference) }
    if ((await heads.ask(asked.room, head, deadline)) === 'acknowledged') {
      return { head: seq, log: page.log }
    }
    await pauseBeforeRereading(tries, deadline)
  }
}

/** @throws DialogsError STORE_UNAVAILABLE after the deadline */
export async function pauseBeforeRereading(tries: number, deadline: number): Promise<void> {
  if (performance.now() >= deadline) {
    throw new DialogsError(
      'STORE_UNAVAILABLE',
      'The newest message of the room could not be confirmed in time: try again.'
    )
  }
  await sleep(backoffMs(tries, PAUSE_MS_MIN, PAUSE_MS_MAX))
}

async function read(
  log: Log,
  { room, after, before, limit }: PageAsked
): Promise<{ readonly head: LogEntry | undefined; readonly log: readonly LogEntry[] }> {
  if (after === undefined && before === undefined) {
    const newest = await log.newest(room, limit)
    // A deleted room has nothing left but its head.
    return { head: newest.at(-1) ?? (await log.head(room)), log: newest }
  }
  const head = await log.head(room)
  const headSeq = head?.seq ?? 0
  const end = Math.min(headSeq, before === undefined ? headSeq : before - 1)
  const from = after === undefined ? Math.max(1, end - limit + 1) : after + 1
  const entries = await log.range(room, from, Math.min(end, from + limit - 1))
  if (after === undefined || from > end || entries[0]?.seq === from) return { head, log: entries }
  // What comes right after the cursor is gone.
  const first = await log.first(room)
  return { head, log: await log.range(room, first, Math.min(end, first + limit - 1)) }
}
