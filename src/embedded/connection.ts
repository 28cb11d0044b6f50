// A plain connection to one node, for setting up a cluster: it neither reconnects nor queues. It
// fails at once, and the caller asks again.

import { createClient } from 'redis'

export type Connection = ReturnType<typeof createClient>

export async function connect(url: string): Promise<Connection> {
  const client = createClient({
    url,
    disableOfflineQueue: true,
    socket: { reconnectStrategy: false, connectTimeout: 2000 }
  })
  client.on('error', () => {}) // the same error rejects the call that it belongs to
  await client.connect()
  return client
}

/** Sends one CLUSTER command and returns the answer as text. */
export async function cluster(client: Connection, ...words: string[]): Promise<string> {
  return String(await client.sendCommand(['CLUSTER', ...words]))
}
