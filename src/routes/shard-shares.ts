// Requests that need the same shard take only a part of the places for requests (shares.ts). The
// shard is that of the room in the path, or else of the user.
import {
  type FastifyInstance,
  type onRequestHookHandler,
  type preValidationHookHandler
} from 'fastify'
import { type Shares } from '../shares.js'
import { roomSlot, userSlot } from '../store/keys.js'
import { type Connections } from './connections.js'

/** Adds this to a scope, for the routes that are added to it after this call. */
export function shareByShard(
  scope: FastifyInstance,
  connections: Pick<Connections, 'share'>,
  shares: Shares
): void {
  const share: onRequestHookHandler & preValidationHookHandler = (request, _reply, done) => {
    const { room, user } = request.params as { readonly room?: string; readonly user?: string }
    const slot =
      room !== undefined ? roomSlot(room) : user !== undefined ? userSlot(user) : undefined
    done(slot === undefined ? undefined : connections.share(request.raw, shares, slot))
  }
  scope.addHook('onRequest', share)
  // Those with a body are counted once it has arrived.
  scope.addHook('preValidation', share)
}
