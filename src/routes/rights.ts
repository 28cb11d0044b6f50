// What a route checks before it does anything: whether the caller may. Each check throws FORBIDDEN.
// It returns a promise only if the answer is not known at once, so that a POST normally awaits
// nothing:
//
//     const asked = checkRead(request.caller, room)
//     if (asked !== undefined) await asked
import { DialogsError } from '../errors.js'
import { type Caller } from '../identity/caller.js'
import { checkName } from '../message/names.js'

declare module 'fastify' {
  // Module augmentation merges interfaces only.
  interface FastifyRequest {
    /** The sender of the request; set before any route sees it. */
    caller: Caller
  }
}

/** @throws DialogsError FORBIDDEN, at once or later */
export function checkRead(caller: Caller, room: string): Promise<void> | undefined {
  return check(caller.mayRead(room), 'read', room)
}

/** @throws DialogsError FORBIDDEN, at once or later */
export function checkWrite(caller: Caller, room: string): Promise<void> | undefined {
  return check(caller.mayWrite(room), 'write in', room)
}

/** @throws DialogsError FORBIDDEN */
export function checkAdmin(caller: Caller): void {
  if (caller.isAdmin) return
  throw new DialogsError('FORBIDDEN', 'This is for operators: use a token with admin.')
}

/**
 * Checks that the caller may act for a user named in the path.
 * @throws DialogsError FORBIDDEN
 */
export function checkActsAs(caller: Caller, user: string): void {
  if (caller.mayActAs(user)) return
  throw new DialogsError('FORBIDDEN', `The token is not ${user}'s: use one of theirs.`)
}

/**
 * The user in whose name the caller writes.
 * @param named the user in the request; may be omitted if the token names one
 * @throws DialogsError INVALID_BODY, INVALID_NAME, FORBIDDEN
 */
export function authorOf(caller: Caller, named: string | undefined): string {
  const user = named ?? caller.user
  if (user === undefined) {
    throw new DialogsError('INVALID_BODY', 'The body has no user: send one.')
  }
  checkName('user', user)
  if (!caller.mayActAs(user)) {
    throw new DialogsError(
      'FORBIDDEN',
      'The user is not the one that the token names: send that one, or omit it.'
    )
  }
  return user
}

/**
 * Whose message it must be for the caller to change it: an admin's may be anybody's, unless the
 * request names an author.
 * @throws DialogsError INVALID_NAME, FORBIDDEN
 */
export function requiredAuthor(caller: Caller, named: string | undefined): string | undefined {
  if (named === undefined && caller.isAdmin) return undefined
  return authorOf(caller, named)
}

function check(
  may: boolean | Promise<boolean>,
  what: string,
  room: string
): Promise<void> | undefined {
  if (may === true) return undefined
  if (may === false) throw forbidden(what, room)
  return may.then(mayIndeed => {
    if (!mayIndeed) throw forbidden(what, room)
  })
}

const forbidden = (what: string, room: string): DialogsError =>
  new DialogsError('FORBIDDEN', `The token gives no right to ${what} the room ${room}.`)
