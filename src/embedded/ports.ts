// Free ports for cluster nodes. A node needs two: its own, and that plus 10,000 for the cluster
// bus. Both ranges are below the ports that systems use for outgoing connections (32768 and up on
// Linux), so that no client takes a node's port while the cluster is stopped. The two ranges do not
// overlap.

import { createServer } from 'node:net'

const BUS_OFFSET = 10_000
const PORT_MIN = 12_000
const PORT_MAX = PORT_MIN + BUS_OFFSET - 1

// Ports handed out by this process. Until a node listens on its port, the port would look free to
// the next caller.
const given = new Set<number>()

/** Where to look for ports. */
export type PortRange = {
  readonly min: number
  readonly max: number
  readonly isFree: (port: number) => Promise<boolean>
}

const NODE_PORTS: PortRange = { min: PORT_MIN, max: PORT_MAX, isFree: isNodePortFree }

/**
 * `count` different ports that can be listened on now, none of them in `avoid`. Starts at a random
 * port, because several clusters may be created at once.
 */
export async function freePorts(
  count: number,
  avoid: readonly number[] = [],
  { min, max, isFree }: PortRange = NODE_PORTS
): Promise<number[]> {
  const found: number[] = []
  const size = max - min + 1
  const start = Math.floor(Math.random() * size)
  for (let step = 0; step < size && found.length < count; step++) {
    const port = min + ((start + step) % size)
    if (avoid.includes(port) || given.has(port)) continue
    given.add(port)
    if (await isFree(port)) found.push(port)
  }
  if (found.length < count) throw new Error(`no ${count} free ports between ${min} and ${max}`)
  return found
}

/** Whether a node could listen on this port and on its bus port. */
export async function isNodePortFree(port: number): Promise<boolean> {
  return (await isPortFree(port)) && (await isPortFree(port + BUS_OFFSET))
}

/** Whether a process could listen on this port of loopback. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () =>
      server.close(() => resolve(true))
    )
  })
}
