// What a route asks before it does anything: whether the caller may. Each check throws FORBIDDEN,
// and answers a promise only where the answer is not known at once: a POST waits for nothing
// otherwise.
//
//     const asked = checkRead(request.caller, room)
//     if (asked !== undefined) await asked
import { DialogsError } from '../errors.js'
import { type Caller } from '../identity/caller.js'
import { checkName } from '../message/names.js'

declare module 'fastify' {
  // Module augmentation merges interfaces only.
  interface FastifyRequest {
    /** Who it comes from; set before any route sees the request. */
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
  throw new DialogsError(
    'FORBIDDEN',
    'This is for those who run the service: use a token with admin.'
  )
}

/**
 * Whether the caller may act for a user whom the path names.
 * @throws DialogsError FORBIDDEN
 */
export function checkActsAs(caller: Caller, user: string): void {
  if (caller.mayActAs(user)) return
  throw new DialogsError('FORBIDDEN', `The token is not ${user}'s: use one of theirs.`)
}

/**
 * In whose name the caller writes.
 * @param named the user in the request; may be left out where a token names one
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
      'The user is not the one whom the token names: send that one, or leave it out.'
    )
  }
  return user
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
