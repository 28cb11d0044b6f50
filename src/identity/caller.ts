// Who a request comes from, and what they may do. Every request has a caller; in the open service,
// which asks for no tokens, it is one that may do everything. Knows nothing of HTTP.

export type Caller = {
  /**
   * The user that the token names. Undefined in the open service, and for an operator's program:
   * then the request says who the user is.
   */
  readonly user: string | undefined
  /** May do what is for those who run the service. */
  readonly isAdmin: boolean
  /** A promise only where membership decides and is not known here yet. */
  readonly mayRead: (room: string) => boolean | Promise<boolean>
  /** As mayRead. */
  readonly mayWrite: (room: string) => boolean | Promise<boolean>
  /** Whether they may write in this user's name, and see what is this user's own. */
  readonly mayActAs: (user: string) => boolean
}

const always = (): boolean => true

/** Everybody, where no tokens are asked for. */
export const ANYBODY: Caller = {
  user: undefined,
  isAdmin: true,
  mayRead: always,
  mayWrite: always,
  mayActAs: always
}
