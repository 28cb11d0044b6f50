// Keeps tickets in Redis until they expire (src/identity/tickets.ts). Nothing waits for a replica:
// if a failover loses a ticket, the ticket is refused and its client asks for another one.
import { type TicketStore } from '../identity/tickets.js'
import { type Cluster } from '../redis/cluster.js'
import { slotOf } from '../redis/slots.js'
import { ticketKey } from './keys.js'

export function ticketsIn(cluster: Cluster): TicketStore {
  return {
    keep: async (hash, text, ttlMs) => {
      const key = ticketKey(hash)
      await cluster.command(slotOf(key), ['SET', key, text, 'PX', String(ttlMs)])
    },
    find: async hash => {
      const key = ticketKey(hash)
      const text = await cluster.command(slotOf(key), ['GET', key])
      return text === null ? undefined : String(text)
    }
  }
}
