// An entry in a room's order, as the page keeps it: a message, a gap for a lost or a deleted
// message, or a change, each with a sequence of its own. A change is not shown by itself; the
// message that it changes is kept in its new form.
import { type Change, type Entry, type Message } from '../src/client/dialogs.js'

export type { Entry } from '../src/client/dialogs.js'

export const isMessage = (entry: Entry): entry is Message => 'user' in entry

/** The entry as it is after the change. */
export function afterChange(entry: Entry, change: Change): Entry {
  if (!isMessage(entry)) return entry
  const { room, seq, at } = entry
  return 'deleted' in change
    ? { room, seq, at, deleted: true }
    : { ...entry, text: change.text, changed: change.at }
}
