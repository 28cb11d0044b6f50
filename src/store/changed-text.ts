// What became of a message that is not in its block any more: a hash beside the block has its
// present text, or says that it was deleted.
import {
  type Change,
  type ChangeMark,
  type Deleted,
  type Lost,
  type Message,
  type Reference
} from '../message/message.js'

/** What the hash says of one message; `text` is undefined if it was deleted. */
export type ChangedText = {
  /** The message's first change is 1, and so on. */
  readonly n: number
  /** When it was changed last. */
  readonly ms: number
  readonly text: string | undefined
}

// As CHANGE writes it.
const CHANGED = /^(\d+) (\d+) \S+ ([td])([\s\S]*)$/

/** Parses a value of the hash; undefined for anything else. */
export function parseChanged(value: string): ChangedText | undefined {
  const [, n, ms, kind, text] = CHANGED.exec(value) ?? []
  return n === undefined
    ? undefined
    : { n: Number(n), ms: Number(ms), text: kind === 't' ? text : undefined }
}

/**
 * How a log entry is shown if its text is not in the block. Both the message and the entry that
 * tells of its change show the message as it is now: history has no text that is gone.
 * @param changed what the hash says; undefined if the shard has lost it
 */
export function changedEntry(
  room: string,
  seq: number,
  { user, ms, change }: Reference,
  changed: ChangedText | undefined
): Message | Deleted | Change | Lost {
  if (change !== undefined) {
    return changed === undefined && !change.isDeletion
      ? { room, seq, ms, lost: true }
      : { room, seq, ms, changes: change.seq, text: textNow(change, changed) }
  }
  if (changed === undefined) return { room, seq, ms, lost: true }
  return changed.text === undefined
    ? { room, seq, ms, deleted: true }
    : { room, seq, user, text: changed.text, ms, changedMs: changed.ms }
}

// A deletion that the log tells of holds even if the shard has lost the hash.
const textNow = (change: ChangeMark, changed: ChangedText | undefined): string | undefined =>
  change.isDeletion ? undefined : changed?.text
