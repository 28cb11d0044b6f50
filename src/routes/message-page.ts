// A page of messages as JSON, limited by bytes as well as by messages. Invariant: a page is
// contiguous, and has at least one message if there is any. Messages that are gone are left out: a
// page that would begin with them begins with the first message that is left. A page that must be
// cut keeps the messages next to where the client continues: with `after` the newest are dropped,
// otherwise the oldest. Texts are read in pieces, so that little more is read than is sent.
import { type LoopTurns } from '../loop-turns.js'
import { entryJson } from '../message/frame.js'
import { type PageAsked } from '../store/page-log.js'
import { type LogEntry } from '../store/pieces.js'
import { type Store } from '../store/store.js'
import { type PageJson } from './answers.js'

export type PageBounds = {
  readonly bytesMax: number
  /** The largest number of code points in a text. */
  readonly textMax: number
  /** Shared by all pages, so that many of them at once do not hold up other requests. */
  readonly turns: Pick<LoopTurns, 'next'>
}

const CODE_POINT_BYTES_MAX = 4
/** Bytes that are encoded in one turn of the event loop. */
const SLICE_BYTES = 64 * 1024
/**
 * A piece may have at most this many times the bytes of a page, if all its texts are of maximum
 * length.
 */
const PIECE_PAGES = 2

export async function messagePage(
  store: Store,
  asked: PageAsked,
  bounds: PageBounds
): Promise<PageJson> {
  const { room, after } = asked
  const { head, log } = await store.pageLog(asked)
  const messages =
    after === undefined
      ? (await boundedJson(store, room, log.toReversed(), bounds)).reverse()
      : await boundedJson(store, room, log, bounds)
  const json = `{"room":${JSON.stringify(room)},"head":${head},"messages":[${messages.join(',')}]}`
  return { json, entries: messages.length }
}

/** The JSON of the first of these entries, as many as fit. */
async function boundedJson(
  store: Store,
  room: string,
  log: readonly LogEntry[],
  { bytesMax, textMax, turns }: PageBounds
): Promise<string[]> {
  const lengthMax = Math.max(
    1,
    Math.floor((PIECE_PAGES * bytesMax) / (CODE_POINT_BYTES_MAX * textMax))
  )
  const page: string[] = []
  let left = bytesMax
  let slice = 0
  let length = Math.ceil(lengthMax / 2)
  for (let from = 0; from < log.length;) {
    const piece = log.slice(from, from + length)
    const entries = await store.history.entries(room, piece)
    const leftBefore = left
    for (const entry of entries) {
      const json = entryJson(entry)
      const bytes = Buffer.byteLength(json) + 1
      if (bytes > left && page.length > 0) return page
      left -= bytes
      page.push(json)
      slice += bytes
      if (slice >= SLICE_BYTES) {
        slice = 0
        await turns.next()
      }
    }
    from += piece.length
    const fitting = Math.ceil(left / ((leftBefore - left) / piece.length))
    length = Math.max(1, Math.min(lengthMax, fitting))
  }
  return page
}
