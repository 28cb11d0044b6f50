// Stands between a client and its Redis nodes, so that a test decides when an answer comes through: real sockets, and a network that holds
// replies back or breaks. Give its address map to a Cluster; whoever does not use it is not affected.
import { once } from 'node:events'
import { type AddressInfo, createServer, connect, type Server, type Socket } from 'node:net'
import { type Test } from 'tap'
import { type Address } from '../../src/redis/address.js'

type Pair = { readonly client: Socket, readonly node: Socket, isHeld: boolean, held: Buffer[] }

export class Gate {
  /** Announced `host:port` → where the gate listens for it. */
  readonly addressMap = new Map<string, Address>()
  readonly #servers: Server[] = []
  readonly #pairs = new Set<Pair>()
  #holdBehind: string | undefined

  static async open (t: Test, urls: readonly string[]): Promise<Gate> {
    const gate = new Gate()
    t.teardown(() => { gate.close() })
    for (const url of urls) await gate.#listen(new URL(url))
    return gate
  }

  /** Replies that wait behind the gate, in bytes. */
  get heldBytes (): number {
    return [...this.#pairs].reduce((sum, { held }) => sum + held.reduce((bytes, { length }) => bytes + length, 0), 0)
  }

  /** From now on commands reach the nodes, but no reply comes back on a connection on which one that contains `command` was sent. */
  hold (command: string): void {
    this.#holdBehind = command
  }

  /** Lets through what was held, and everything after it. */
  release (): void {
    this.#holdBehind = undefined
    for (const pair of this.#pairs) {
      pair.isHeld = false
      for (const chunk of pair.held.splice(0)) pair.client.write(chunk)
    }
  }

  /** Breaks every connection; replies that were held are lost. New connections work. */
  cut (): void {
    this.#holdBehind = undefined
    for (const pair of this.#pairs) this.#end(pair)
  }

  close (): void {
    this.cut()
    for (const server of this.#servers) server.close()
  }

  async #listen ({ hostname, port }: URL): Promise<void> {
    const server = createServer(client => { this.#join(client, connect(Number(port), hostname)) }).listen(0, '127.0.0.1')
    // A test that fails may leave it open.
    server.unref()
    this.#servers.push(server)
    await once(server, 'listening')
    // A server on a TCP port has an address, not a path.
    this.addressMap.set(`${hostname}:${port}`, { host: '127.0.0.1', port: (server.address() as AddressInfo).port })
  }

  #join (client: Socket, node: Socket): void {
    const pair: Pair = { client, node, isHeld: false, held: [] }
    this.#pairs.add(pair)
    for (const socket of [client, node]) socket.setNoDelay(true).on('error', () => { this.#end(pair) }).on('close', () => { this.#end(pair) })
    client.on('data', chunk => {
      if (this.#holdBehind !== undefined && chunk.includes(this.#holdBehind)) pair.isHeld = true
      node.write(chunk)
    })
    node.on('data', chunk => {
      if (pair.isHeld) pair.held.push(chunk)
      else client.write(chunk)
    })
  }

  #end (pair: Pair): void {
    this.#pairs.delete(pair)
    pair.client.destroy()
    pair.node.destroy()
  }
}
