// The checks of rights. A route calls one of these functions before it does anything else. Each
// checks that the names are valid, that the caller may do this in the room, and that it acts in its
// own name:
//
//     await checkRead(caller, room)                        to read in a room
//     await checkStillReads(caller, room)                  the same, before the answer is sent
//     const user = await writerIn(caller, room, named)     to write in a room
//     await checkWrite(caller, room)                       to change who is in a room
//     checkActsAs(caller, user)                            for what belongs to a person
//     checkAdmin(caller)                                   for operators
//
// Each throws INVALID_NAME for a bad name and FORBIDDEN for a missing right. Those that are awaited
// return a promise only if the answer depends on membership and this process does not know it yet.
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

/** @throws DialogsError INVALID_NAME or FORBIDDEN, at once or later */
export function checkRead(caller: Caller, room: string): Promise<void> | undefined {
  checkName('room', room)
  return check(caller.mayRead(room), 'read', room)
}

/**
 * Checks the right to read once more, before an answer is sent that had to wait: the token may have
 * expired meanwhile, or its user may have been removed. Costs no command if neither happened.
 * @throws DialogsError TOKEN_EXPIRED or FORBIDDEN, at once or later
 */
export function checkStillReads(caller: Caller, room: string): Promise<void> | undefined {
  if (caller.expiresAtMs <= Date.now()) {
    throw new DialogsError('TOKEN_EXPIRED', 'The token has expired: get a new one.')
  }
  return check(caller.mayRead(room), 'read', room)
}

/** @throws DialogsError INVALID_NAME or FORBIDDEN, at once or later */
export function checkWrite(caller: Caller, room: string): Promise<void> | undefined {
  checkName('room', room)
  return check(caller.mayWrite(room), 'write in', room)
}

/** @throws DialogsError FORBIDDEN */
export function checkAdmin(caller: Caller): void {
  if (caller.isAdmin) return
  throw new DialogsError('FORBIDDEN', 'This is for operators: use a token with admin.')
}

/**
 * Checks that the caller may act for a user named in the path.
 * @throws DialogsError INVALID_NAME, FORBIDDEN
 */
export function checkActsAs(caller: Caller, user: string): void {
  checkName('user', user)
  if (caller.mayActAs(user)) return
  throw new DialogsError('FORBIDDEN', `The token is not ${user}'s: use one of theirs.`)
}

/**
 * The user in whose name the caller writes in a room.
 * @param named the user in the request; may be omitted if the token names one
 * @throws DialogsError INVALID_BODY, INVALID_NAME or FORBIDDEN, at once or later
 */
export function writerIn(
  caller: Caller,
  room: string,
  named: string | undefined
): string | Promise<string> {
  checkName('room', room)
  const user = authorOf(caller, named)
  const asked = check(caller.mayWrite(room), 'write in', room)
  return asked === undefined ? user : asked.then(() => user)
}

/**
 * The author that a message must have for the caller to change it. Undefined if an admin names no
 * author: then it may be anybody's message.
 * @throws DialogsError INVALID_BODY, INVALID_NAME or FORBIDDEN, at once or later
 */
export async function requiredAuthorIn(
  caller: Caller,
  room: string,
  named: string | undefined
): Promise<string | undefined> {
  if (named !== undefined || !caller.isAdmin) return await writerIn(caller, room, named)
  await checkWrite(caller, room)
  return undefined
}

function authorOf(caller: Caller, named: string | undefined): string {
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
