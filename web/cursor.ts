// A place in a room's order: `<seq>`, or `<seq>-<ms>` with the time of the entry at that place. The
// time lets the service notice that the room was rewound and another entry took the sequence.
import { type Entry } from './entry.js'

/** The place right after an entry. A lost message has no time. */
export function cursorOf(entry: Entry): string {
  return 'lost' in entry ? String(entry.seq) : `${entry.seq}-${Date.parse(entry.at)}`
}

export function seqOf(cursor: string): number {
  return Number.parseInt(cursor, 10)
}

/**
 * Whether two cursors name different messages at the same sequence. Without both times this cannot
 * be told, and the result is false.
 */
export function contradicts(a: string, b: string): boolean {
  return seqOf(a) === seqOf(b) && a.includes('-') && b.includes('-') && a !== b
}
