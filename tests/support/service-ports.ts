// Ports for services that are stopped and started again on the same port. They lie below those of
// cluster nodes (src/embedded/ports.ts), of which dozens of other tests take some all the time:
// while a service is down, a node of another test would take its port. None of them is among those
// that browsers and fetch refuse (https://fetch.spec.whatwg.org/#port-blocking).
import { freePorts, isPortFree } from '../../src/embedded/ports.js'

/** `count` different ports of loopback that can be listened on now. */
export const servicePorts = (count: number): Promise<number[]> =>
  freePorts(count, [], { min: 7000, max: 9999, isFree: isPortFree })
