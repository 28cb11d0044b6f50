// Reads a room's log from end to end, page by page. Pages are whole segments, so that each segment
// is read once.
import { type Log } from '../../store/log.js'
import { type LogEntry } from '../../store/pieces.js'

const PAGE_LENGTH = 2048

/** The entries from `from` to `to`, both inclusive, in pages. */
export async function* walk(
  log: Log,
  room: string,
  from: number,
  to: number
): AsyncGenerator<LogEntry[]> {
  const pageLength = log.segmentLength * Math.ceil(PAGE_LENGTH / log.segmentLength)
  for (let first = from; first <= to;) {
    const last = Math.min(to, first - ((first - 1) % pageLength) + pageLength - 1)
    yield await log.range(room, first, last)
    first = last + 1
  }
}
