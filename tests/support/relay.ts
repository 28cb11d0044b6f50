// A TCP relay that can swallow packets: it stops forwarding but keeps every socket open, like a
// network that loses a route or a NAT that forgets a connection. Nobody gets a reset unless the
// test asks for one with `cut`. It can also be slow.
import { once } from 'node:events'
import { createServer, connect, type Socket } from 'node:net'
import type { Test } from 'tap'

type Network = { isSwallowing: boolean; delayMs: number }

export class Relay {
  readonly url: string
  readonly #sockets: Set<Socket>
  readonly #network: Network

  private constructor(url: string, sockets: Set<Socket>, network: Network) {
    this.url = url
    this.#sockets = sockets
    this.#network = network
  }

  static async start(t: Test, target: string): Promise<Relay> {
    const { hostname, port } = new URL(target)
    const sockets = new Set<Socket>()
    const network: Network = { isSwallowing: false, delayMs: 0 }
    const join = (from: Socket, to: Socket): void => {
      sockets.add(from)
      from.on('data', bytes => {
        if (!sockets.has(from)) return
        if (network.delayMs === 0) to.write(bytes)
        // Timers of equal length keep the bytes in order.
        else setTimeout(() => to.write(bytes), network.delayMs)
      })
      from.on('error', () => {})
      from.on('close', () => {
        if (!sockets.delete(from)) return
        to.destroy()
      })
    }
    const server = createServer(client => {
      const service = connect(Number(port), hostname)
      join(client, service)
      join(service, client)
      if (network.isSwallowing) for (const socket of [client, service]) sockets.delete(socket)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      for (const socket of all) socket.destroy()
      server.close()
    })
    const all = new Set<Socket>()
    server.on('connection', socket => all.add(socket))
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('The relay has no port')
    return new Relay(`http://127.0.0.1:${address.port}`, sockets, network)
  }

  /** From now on bytes take this long in each direction. */
  slowDown(delayMs: number): void {
    this.#network.delayMs = delayMs
  }

  /** Ends every open connection, like a proxy that is restarted. New connections work. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** From now on nothing passes on connections that are open now. New connections work. */
  swallowOpen(): void {
    this.#sockets.clear()
  }

  /**
   * From now on nothing passes, on open and on new connections, until `heal`. Connections that were
   * open stay dead.
   */
  swallowAll(): void {
    this.#network.isSwallowing = true
    this.#sockets.clear()
  }

  heal(): void {
    this.#network.isSwallowing = false
  }
}
