// The sender of a request, and what they may do. Every request has a caller. In the open service,
// which asks for no tokens, the caller may do everything. Knows nothing of HTTP.

export type Caller = {
  /**
   * The user named by the token. Undefined in the open service, and for an operator's program; the
   * request then says who the user is.
   */
  readonly user: string | undefined
  /** May use the operators' routes. */
  readonly isAdmin: boolean
  /** When the rights end, on the clock of Date.now(). Streams end then. Infinity: never. */
  readonly expiresAtMs: number
  /** A promise only if membership decides and this process does not know it yet. */
  readonly mayRead: (room: string) => boolean | Promise<boolean>
  /** As mayRead. */
  readonly mayWrite: (room: string) => boolean | Promise<boolean>
  /** Whether they may write in a room only because, and as long as, they are a member. */
  readonly writesAsMember: (room: string) => boolean
  /**
   * Whether they may read the messages of a room, provided that they are a member of it. Always
   * known at once. If not, a list of their rooms leaves out the room's last message.
   */
  readonly mayReadAsMember: (room: string) => boolean
  /** A text that is equal for callers whose `mayReadAsMember` gives the same answers. */
  readonly readRule: string
  /** Whether they may write in this user's name and see what belongs to this user. */
  readonly mayActAs: (user: string) => boolean
}

const always = (): boolean => true

/** The caller of every request in the open service. */
export const ANYBODY: Caller = {
  user: undefined,
  isAdmin: true,
  expiresAtMs: Infinity,
  mayRead: always,
  mayWrite: always,
  writesAsMember: () => false,
  mayReadAsMember: always,
  readRule: 'all',
  mayActAs: always
}
