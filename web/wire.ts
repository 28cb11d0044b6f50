// What a page and the switchboard say to each other, whether the switchboard runs in a SharedWorker
// or in the page itself. A page reads one room at a time; joining another one leaves the first.
import { type Entry } from './entry.js'

/** What the switchboard knows of a room's stream. `history`: connected, and catching up. */
export type RoomState = 'connecting' | 'history' | 'live' | 'reconnecting'

export type Signal = { readonly user: string; readonly kind: string; readonly data: unknown }

export type FromPage =
  /** Read the room from behind the cursor: `<seq>` or `<seq>-<ms>`. */
  | { readonly type: 'join'; readonly room: string; readonly cursor: string }
  | { readonly type: 'leave' }
  /** The answer to a roll call. */
  | { readonly type: 'here' }
  /** The network is back: do not wait for the next attempt. */
  | { readonly type: 'hurry' }

export type ToPage =
  /** `cursor` is the place right behind the entry. */
  | { readonly type: 'entry'; readonly entry: Entry; readonly cursor: string }
  /** While reconnecting: after how many ms. */
  | { readonly type: 'state'; readonly state: RoomState; readonly inMs: number }
  | { readonly type: 'signal'; readonly signal: Signal }
  /**
   * The room was rewound below what this page has: all of it is void, and the page has left the
   * room.
   */
  | { readonly type: 'reset' }
  /** The service refused the stream for good. The page has left, and asks about its own room. */
  | { readonly type: 'refused' }
  | { readonly type: 'roll-call' }
  /**
   * The page missed several roll calls and has left the room. A page that wakes up reads this and
   * joins again.
   */
  | { readonly type: 'dropped' }
