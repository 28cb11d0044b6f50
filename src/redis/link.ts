// One connection to one node: opened when it is first needed, and opened again after it broke.
// Invariant: at most one connection is open or being opened. After a refusal it fails at once for a
// moment instead of connecting again for every command that waits.
import { type Address } from './address.js'
import { Connection, ConnectionLost, type ConnectionOptions } from './connection.js'

const REFUSED_FOR_MS = 50
/** A login that Redis denies is not repeated for each command that waits. */
const DENIED_FOR_MS = 1000

export class Link {
  readonly #address: Address
  readonly #options: ConnectionOptions
  #connection: Connection | undefined
  #opening: Promise<Connection> | undefined
  #refused: { readonly error: unknown, readonly until: number } | undefined
  #isClosed = false
  #giveUp: (error: ConnectionLost) => void = () => undefined

  constructor (address: Address, options: ConnectionOptions) {
    this.#address = address
    this.#options = options
  }

  /** The open connection, if there is one. It spares the hot path a promise. */
  get current (): Connection | undefined {
    return this.#connection?.isUsable === true ? this.#connection : undefined
  }

  /** @throws ConnectionLost when the node cannot be reached */
  async open (): Promise<Connection> {
    const current = this.current
    if (current !== undefined) return current
    if (this.#isClosed) throw new ConnectionLost('The link was closed')
    if (this.#refused !== undefined && performance.now() < this.#refused.until) throw this.#refused.error
    this.#opening ??= this.#connect().finally(() => { this.#opening = undefined })
    return await this.#opening
  }

  /**
   * The cluster holds the node for dead: what waits for it fails now, not when the time for opening
   * or answering is over.
   */
  abandon (): void {
    const reason = 'the cluster holds the node for dead'
    this.#connection?.close(reason)
    this.#giveUp(new ConnectionLost(`No connection: ${reason}`))
  }

  close (): void {
    this.#isClosed = true
    this.#connection?.close('closed by this process')
  }

  async #connect (): Promise<Connection> {
    const opening = Connection.open(this.#address, this.#options)
    try {
      const connection = await Promise.race([opening, new Promise<never>((_resolve, reject) => { this.#giveUp = reject })])
      if (this.#isClosed) connection.close('closed by this process')
      this.#connection = connection
      this.#refused = undefined
      return connection
    } catch (error) {
      // It may still succeed after it was abandoned.
      opening.then(connection => { connection.close('nobody waits for it') }, () => undefined)
      this.#refused = { error, until: performance.now() + (error instanceof ConnectionLost ? REFUSED_FOR_MS : DENIED_FOR_MS) }
      throw error
    }
  }
}
