// Counts the messages that the room's stream brings from now on, and those that are missing. All
// entries of a room (messages, and what happens to earlier ones) share one numbering without holes.
// So a number that is left out is a lost entry, and so is one that the service reports as lost.
import { type Dialogs, Refusal, type StreamEvent } from '../../src/client/dialogs.js'

export type Counts = { readonly received: number; readonly lost: number }

export type CounterEvents = {
  readonly counts: (counts: Counts) => void
  readonly wrote: (user: string) => void
  /** What was written so far is void: the room was deleted, or its shard has lost it. */
  readonly reset: () => void
}

/** Counts until the page is closed, or until the service refuses the room for good. */
export async function countMessages(
  dialogs: Dialogs,
  room: string,
  events: CounterEvents
): Promise<void> {
  let received = 0
  let lost = 0
  let next: number | undefined
  try {
    for await (const event of dialogs.stream(room, { last: 0 })) {
      if (event.type === 'live') next ??= event.head + 1
      if (event.type === 'reset') {
        next = event.head + 1
        events.reset()
      }
      const seq = seqOf(event)
      if (seq === undefined) continue
      if (next !== undefined && seq > next) lost += seq - next
      if (event.type === 'lost') lost++
      next = seq + 1
      if (event.type === 'message') {
        received++
        events.wrote(event.message.user)
      }
      events.counts({ received, lost })
    }
  } catch (error) {
    // Where a token is needed, the picture shows no room, and the blocks' own answer says so.
    if (!(error instanceof Refusal)) throw error
  }
}

/** The number of an entry; undefined for what is no entry. */
function seqOf(event: StreamEvent): number | undefined {
  switch (event.type) {
    case 'message':
    case 'deleted':
      return event.message.seq
    case 'changed':
      return event.change.seq
    case 'lost':
      return event.seq
    default:
      return undefined
  }
}
