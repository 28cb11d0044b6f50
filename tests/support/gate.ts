// A proxy between a client and its Redis nodes, on which a test decides when a reply passes: real
// sockets, and a network that delays replies or breaks. Only a Cluster with the gate's address map
// is affected.
import { once } from 'node:events'
import { type AddressInfo, createServer, connect, type Server, type Socket } from 'node:net'
import { type Test } from 'tap'
import { type Address } from '../../src/redis/address.js'

type Pair = {
  readonly client: Socket
  readonly node: Socket
  isHeld: boolean
  held: Buffer[]
  /** The commands that are to arrive late, also if the client has gone. */
  late: Buffer[] | undefined
}

export class Gate {
  /** Announced `host:port` → where the gate listens for it. */
  readonly addressMap = new Map<string, Address>()
  readonly #servers: Server[] = []
  readonly #pairs = new Set<Pair>()
  #holdBehind: string | undefined
  #delayFrom: string | undefined

  static async open(t: Test, urls: readonly string[]): Promise<Gate> {
    const gate = new Gate()
    t.teardown(() => {
      gate.close()
    })
    for (const url of urls) await gate.#listen(new URL(url))
    return gate
  }

  /** The bytes of replies that the gate holds back. */
  get heldBytes(): number {
    return [...this.#pairs].reduce(
      (sum, { held }) => sum + held.reduce((bytes, { length }) => bytes + length, 0),
      0
    )
  }

  /**
   * From now on, commands still reach the nodes, but a connection that has sent a command
   * containing `command` gets no more replies.
   */
  hold(command: string): void {
    this.#holdBehind = command
  }

  /** Lets through the held replies, and everything after them. */
  release(): void {
    this.#holdBehind = undefined
    for (const pair of this.#pairs) {
      pair.isHeld = false
      for (const chunk of pair.held.splice(0)) pair.client.write(chunk)
    }
  }

  /**
   * The next connection that sends a command containing `command` sends nothing more from there on:
   * its commands arrive when `deliver` is called, although the client has given up by then.
   */
  delay(command: string): void {
    this.#delayFrom = command
  }

  /** Lets the delayed commands arrive. Resolves when their node has answered the first of them. */
  async deliver(): Promise<void> {
    this.#delayFrom = undefined
    for (const pair of this.#pairs) {
      const { late, node } = pair
      if (late === undefined) continue
      pair.late = undefined
      const answered = once(node, 'data')
      for (const chunk of late) node.write(chunk)
      await answered
      if (pair.client.destroyed) this.#end(pair)
    }
  }

  /** Whether a command is delayed, and its client has given up. */
  get isAbandoned(): boolean {
    return [...this.#pairs].some(({ late, client }) => late !== undefined && client.destroyed)
  }

  /** Breaks every connection. Held replies are lost. New connections work. */
  cut(): void {
    this.#holdBehind = undefined
    for (const pair of this.#pairs) this.#end(pair)
  }

  close(): void {
    this.cut()
    for (const server of this.#servers) server.close()
  }

  async #listen({ hostname, port }: URL): Promise<void> {
    const server = createServer(client => {
      this.#join(client, connect(Number(port), hostname))
    }).listen(0, '127.0.0.1')
    // A test that fails may leave the gate open.
    server.unref()
    this.#servers.push(server)
    await once(server, 'listening')
    // A server on a TCP port has an address, not a path.
    this.addressMap.set(`${hostname}:${port}`, {
      host: '127.0.0.1',
      port: (server.address() as AddressInfo).port
    })
  }

  #join(client: Socket, node: Socket): void {
    const pair: Pair = { client, node, isHeld: false, held: [], late: undefined }
    this.#pairs.add(pair)
    for (const socket of [client, node]) {
      socket
        .setNoDelay(true)
        .on('error', () => {
          if (pair.late === undefined) this.#end(pair)
        })
        .on('close', () => {
          if (pair.late === undefined) this.#end(pair)
        })
    }
    client.on('data', chunk => {
      if (this.#delayFrom !== undefined && chunk.includes(this.#delayFrom)) {
        this.#delayFrom = undefined
        pair.late = []
      }
      if (pair.late !== undefined) {
        pair.late.push(chunk)
        return
      }
      if (this.#holdBehind !== undefined && chunk.includes(this.#holdBehind)) pair.isHeld = true
      node.write(chunk)
    })
    node.on('data', chunk => {
      if (pair.isHeld) pair.held.push(chunk)
      else client.write(chunk)
    })
  }

  #end(pair: Pair): void {
    this.#pairs.delete(pair)
    pair.client.destroy()
    pair.node.destroy()
  }
}
