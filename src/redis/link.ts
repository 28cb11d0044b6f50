// One connection to one node, opened when it is first needed, and opened again when it is needed
// after it broke. Invariant: at most one connection is open or being opened. After a refusal,
// callers fail at once for a moment, so that they do not all try to connect.
import { type Address } from './address.js'
import { Connection, ConnectionLost, type ConnectionOptions } from './connection.js'

/** After a failed attempt to connect, callers fail at once for this long. */
const REFUSED_FOR_MS = 50
/** After Redis has denied a login, callers fail at once for this long. */
const DENIED_FOR_MS = 1000

type Refusal = { readonly error: unknown; readonly until: number }

export class Link {
  readonly #address: Address
  readonly #options: ConnectionOptions
  readonly #verify: ((connection: Connection) => Promise<void>) | undefined
  #connection: Connection | undefined
  #isVerified = false
  #connecting: Promise<Connection> | undefined
  #verifying: Promise<Connection> | undefined
  #unreached: Refusal | undefined
  #refused: Refusal | undefined
  #isClosed = false
  #blocked: Error | undefined
  #giveUp: (error: Error) => void = () => undefined

  /**
   * @param verify inspects the node before its connection is used; throws if it must not be used
   */
  constructor(
    address: Address,
    options: ConnectionOptions,
    verify?: (connection: Connection) => Promise<void>
  ) {
    this.#address = address
    this.#options = options
    this.#verify = verify
  }

  /** The open and verified connection, if there is one. Saves a promise on the hot path. */
  get current(): Connection | undefined {
    return this.#connection?.isUsable === true && this.#isVerified ? this.#connection : undefined
  }

  /** @throws ConnectionLost when the node cannot be reached, or whatever `verify` throws */
  async open(): Promise<Connection> {
    const current = this.current
    if (current !== undefined) return current
    if (this.#blocked !== undefined) throw this.#blocked
    if (this.#refused !== undefined && performance.now() < this.#refused.until) {
      throw this.#refused.error
    }
    this.#verifying ??= this.#openVerified().finally(() => {
      this.#verifying = undefined
    })
    return await this.#verifying
  }

  /**
   * A connection for questions about the cluster, which a node may answer even if it must not be
   * used for data.
   * @throws ConnectionLost
   */
  async openUnverified(): Promise<Connection> {
    if (this.#connection?.isUsable === true) return this.#connection
    if (this.#isClosed) throw new ConnectionLost('The link was closed')
    if (this.#blocked !== undefined) {
      throw new ConnectionLost(this.#blocked.message, { cause: this.#blocked })
    }
    if (this.#unreached !== undefined && performance.now() < this.#unreached.until) {
      throw this.#unreached.error
    }
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined
    })
    return await this.#connecting
  }

  /**
   * The cluster considers the node dead: everything that waits for it fails now instead of after a
   * timeout.
   */
  abandon(): void {
    const reason = 'the cluster considers the node dead'
    this.#connection?.close(reason)
    this.#giveUp(new ConnectionLost(`No connection: ${reason}`))
  }

  /**
   * Fails everything that waits for the node, and every later call, with this error, and opens no
   * connection. Lasts until it is called with undefined.
   */
  block(error: Error | undefined): void {
    this.#blocked = error
    if (error === undefined) return
    this.#connection?.close(error.message)
    this.#giveUp(error)
  }

  close(): void {
    this.#isClosed = true
    this.#connection?.close('closed by this process')
  }

  async #openVerified(): Promise<Connection> {
    const connection = await this.openUnverified()
    try {
      await this.#verify?.(connection)
    } catch (error) {
      this.#refused = { error, until: performance.now() + REFUSED_FOR_MS }
      throw error
    }
    // Not verified if it broke meanwhile and another connection has taken its place.
    this.#isVerified = connection === this.#connection
    return connection
  }

  async #connect(): Promise<Connection> {
    const opening = Connection.open(this.#address, this.#options)
    try {
      const connection = await Promise.race([
        opening,
        new Promise<never>((_resolve, reject) => {
          this.#giveUp = reject
        })
      ])
      if (this.#isClosed) connection.close('closed by this process')
      this.#connection = connection
      this.#isVerified = false
      this.#unreached = undefined
      return connection
    } catch (error) {
      // The attempt may still succeed after it was given up.
      opening.then(
        connection => {
          connection.close('nobody waits for it')
        },
        () => undefined
      )
      this.#unreached = {
        error,
        until:
          performance.now() + (error instanceof ConnectionLost ? REFUSED_FOR_MS : DENIED_FOR_MS)
      }
      throw error
    }
  }
}
