// Ports for services that are stopped and started again on the same port. They lie below those of
// cluster nodes (src/embedded/ports.ts), of which dozens of other tests take some all the time:
// while a service is down, a node of another test would take its port. None of them is among those
// that browsers and fetch refuse (https://fetch.spec.whatwg.org/#port-blocking).
import { isPortFree } from '../../src/embedded/ports.js'

const PORT_MIN = 7000
const PORT_MAX = 9999

// Ports handed out by this process. Until a service listens on its port, the port would look free
// to the next caller.
const given = new Set<number>()

/** `count` different ports of loopback that can be listened on now. */
export async function servicePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN + 1))
    if (given.has(port)) continue
    given.add(port)
    if (await isPortFree(port)) ports.push(port)
  }
  return ports
}
