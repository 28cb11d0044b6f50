// Free ports for cluster nodes. A node needs two: its own, and that plus 10,000 for the cluster
// bus. Both ranges lie below the ports that systems give to outgoing connections (32768 and up on
// Linux), so that a node's port is not taken by a client while the cluster is stopped, and they do
// not overlap.

import { createServer } from 'node:net'

const busOffset = 10_000
const portMin = 12_000
const portMax = portMin + busOffset - 1

// Between being found and being listened on, a port looks free to the next one who asks in this
// process.
const given = new Set<number>()

/**
 * `count` different ports that can be listened on now, none of `avoid`. The start is random:
 * several clusters may be made at once.
 */
export async function freePorts(count: number, avoid: readonly number[] = []): Promise<number[]> {
  const found: number[] = []
  const size = portMax - portMin + 1
  const start = Math.floor(Math.random() * size)
  for (let step = 0; step < size && found.length < count; step++) {
    const port = portMin + ((start + step) % size)
    if (avoid.includes(port) || given.has(port)) continue
    given.add(port)
    if (await isNodePortFree(port)) found.push(port)
  }
  if (found.length < count) {
    throw new Error(`no ${count} free ports between ${portMin} and ${portMax}`)
  }
  return found
}

/** Whether a node could listen on this port and on its bus port. */
export async function isNodePortFree(port: number): Promise<boolean> {
  return (await isFree(port)) && (await isFree(port + busOffset))
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () =>
      server.close(() => resolve(true))
    )
  })
}
