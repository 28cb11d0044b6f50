// Stops a server from accepting connections without resetting any. Connections that the system has
// accepted but the process has not yet would be reset, with the requests they may carry. So the
// listener is closed right after a turn of the event loop in which there was nothing to accept. A
// short turn alone is no proof of that: Node accepts one connection a turn, and leaves the others
// waiting.
import { type Server } from 'node:http'
import net from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'

/** A turn that took longer may have left something to accept. */
const QUIET_TURN_MS = 0.2
/** How many turns are waited for a quiet one. */
const QUIET_TURNS_MAX = 200

/** Resolves when the listener is closed. Open connections stay as they are. */
export async function closeListener(server: Server): Promise<void> {
  let accepted = 0
  const count = (): void => {
    accepted++
  }
  server.on('connection', count)
  for (let turns = 0; turns < QUIET_TURNS_MAX; turns++) {
    const begunAt = performance.now()
    const before = accepted
    await turn()
    if (accepted === before && performance.now() - begunAt < QUIET_TURN_MS) break
  }
  server.off('connection', count)
  // Not the HTTP server's own close, which would cut off idle connections and requests on their
  // way.
  net.Server.prototype.close.call(server)
}
