// The messages between a page and the exchange, whether the exchange runs in a SharedWorker or in
// the page itself. A page reads one room and follows one person at a time; the next one replaces
// the first.
import { type Dialog } from '../src/client/dialogs.js'
import { type Entry } from './entry.js'

/** How often each side hears of the other. */
export const ROLL_CALL_MS = 10_000

/** What the switchboard knows of a room's stream. `history`: connected, and catching up. */
export type RoomState = 'connecting' | 'history' | 'live' | 'reconnecting'

export type Signal = { readonly user: string; readonly kind: string; readonly data: unknown }

export type FromPage =
  /** Use this token from now on; an empty one means none. Leaves everything first. */
  | { readonly type: 'sign-in'; readonly token: string }
  /** Read the room from after the cursor: `<seq>` or `<seq>-<ms>`. */
  | { readonly type: 'join'; readonly room: string; readonly cursor: string }
  | { readonly type: 'leave' }
  /** Send the news of the person's dialogs; an empty name is nobody. */
  | { readonly type: 'follow'; readonly user: string }
  /** The page leaves both. */
  | { readonly type: 'goodbye' }
  /** The answer to a roll call. */
  | { readonly type: 'here' }
  /** The network is back: do not wait for the next attempt. */
  | { readonly type: 'hurry' }

export type ToPage =
  /** `cursor` is the place right after the entry. */
  | { readonly type: 'entry'; readonly entry: Entry; readonly cursor: string }
  /** While reconnecting: the ms until the next attempt. */
  | { readonly type: 'state'; readonly state: RoomState; readonly inMs: number }
  | { readonly type: 'signal'; readonly signal: Signal }
  /**
   * Everything that this page has of the room is void, and the page has left the room. The reason
   * is the service's word.
   */
  | { readonly type: 'reset'; readonly reason: string }
  /** The service refused the stream for good. The page has left, and asks about its own room. */
  | { readonly type: 'refused' }
  /** All dialogs of the person that the page follows; what it knew before is void. */
  | { readonly type: 'dialogs'; readonly dialogs: readonly Dialog[] }
  /** The new state of one of them. */
  | { readonly type: 'dialog'; readonly dialog: Dialog }
  /** Some of them may be out of date until the next `dialogs`. */
  | { readonly type: 'dialogs-behind' }
  /** The person is no longer a member of the room. */
  | { readonly type: 'left'; readonly room: string }
  | { readonly type: 'roll-call' }
  /**
   * The page missed several roll calls and has left everything. A page that wakes up reads this and
   * joins again.
   */
  | { readonly type: 'dropped' }

/** A page, as the exchange knows it. */
export type Reader = { readonly send: (message: ToPage) => void }
