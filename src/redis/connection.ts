// One connection to one Redis node, using a node-redis 4 client that never reconnects and never
// queues while offline. Invariant: a connection is used once. When it breaks or falls silent, it is
// closed, everything in flight is rejected at once, and the caller opens a new connection. So a
// dead node costs milliseconds. With node-redis' own reconnecting, commands waited for as long as a
// killed master stayed dead (measured: 12 s).
import { createClient, ErrorReply } from 'redis'
import { messageOf } from '../errors.js'
import { addressKey, type Address } from './address.js'
import { currentPassword, type Password } from './password.js'
import { certificates, KEEP_ALIVE_MS, type SocketOptions } from './socket.js'

/** A reply as Redis sends it (RESP2). */
export type Reply = string | number | null | readonly Reply[]

export type ConnectionOptions = SocketOptions & {
  readonly username: string | undefined
  readonly password: Password | undefined
  readonly connectTimeoutMs: number
  /** A connection with commands in flight and no reply for this long is closed. */
  readonly commandTimeoutMs: number
}

const WATCH_MS = 100

/** The connection broke, was refused or fell silent. Commands in flight may or may not have run. */
export class ConnectionLost extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ConnectionLost'
  }
}

/** Gets the reply to a command: exactly one of the two is called, once. */
export type Receiver = {
  received: (reply: Reply) => void
  /** @param error ConnectionLost, or Redis' error reply */
  failed: (error: unknown) => void
}

// The type of a client without modules. Naming it by its function saves five type parameters.
type Client = ReturnType<typeof createClient>

/** Never connected. `createClient` builds a class with all commands each time; copies share one. */
const TEMPLATE = createClient()

const LATE_GREETING = 'it did not answer the greeting in time'

export class Connection {
  readonly #client: Client
  /** For messages. */
  readonly #name: string
  #pending = 0
  #replies = 0
  #closed: ConnectionLost | undefined

  private constructor(client: Client, address: Address) {
    this.#client = client
    this.#name = addressKey(address)
    client.on('error', (error: Error) => {
      this.#end(error)
    })
  }

  /**
   * Opens a connection and logs in.
   * @throws ConnectionLost when the node refuses or does not answer in time; Redis' own error when
   * it denies the login
   */
  static async open(address: Address, options: ConnectionOptions): Promise<Connection> {
    const { password: source } = options
    const password = await currentPassword(source).catch((error: unknown) => {
      throw new ConnectionLost(messageOf(error), { cause: error })
    })
    try {
      return await Connection.#open(address, options, password)
    } catch (error) {
      if (password === undefined || typeof source !== 'object' || !isWrongPassword(error)) {
        throw error
      }
      const other = await source.insteadOf(password)
      if (other === password) throw error
      return await Connection.#open(address, options, other)
    }
  }

  static async #open(
    address: Address,
    options: ConnectionOptions,
    password: string | undefined
  ): Promise<Connection> {
    const client = clientOf(address, options, password)
    const connection = new Connection(client, address)
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      connection.close(LATE_GREETING)
    }, options.connectTimeoutMs)
    try {
      await client.connect()
      await greet(client)
    } catch (error) {
      if (isRedisError(error)) {
        connection.close('it could not be opened')
        throw error
      }
      // After a close, node-redis fails for reasons of its own, such as a TypeError.
      const why = isLate ? LATE_GREETING : messageOf(error)
      connection.close('it could not be opened')
      throw new ConnectionLost(`No connection to ${addressKey(address)}: ${why}`, { cause: error })
    } finally {
      clearTimeout(timer)
    }
    connection.#watch(options.commandTimeoutMs)
    return connection
  }

  get isUsable(): boolean {
    return this.#closed === undefined && this.#client.isReady
  }

  /** Commands waiting for their reply. */
  get pending(): number {
    return this.#pending
  }

  /**
   * Sends one command. Commands sent in the same turn arrive in the same order, one right after the
   * other (ASKING needs that).
   * @throws ConnectionLost, or Redis' error reply
   */
  send(args: readonly string[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.dispatch(args, { received: resolve, failed: reject })
    })
  }

  /** As `send`, without a promise for the caller: one for each command is expensive. */
  dispatch(args: readonly string[], receiver: Receiver): void {
    if (this.#closed !== undefined) {
      receiver.failed(this.#closed)
      return
    }
    this.#pending++
    // The library only reads the arguments.
    this.#client.sendCommand(args as string[]).then(
      reply => {
        this.#pending--
        this.#replies++
        // The library's type is wider: it returns buffers only on request.
        receiver.received(reply as Reply)
      },
      (error: unknown) => {
        this.#pending--
        this.#replies++
        receiver.failed(this.#judge(error))
      }
    )
  }

  close(reason: string): void {
    this.#end(new Error(reason))
  }

  #judge(error: unknown): unknown {
    if (isRedisError(error)) return withoutArguments(error)
    return this.#closed ?? this.#lost(error)
  }

  #lost(cause: unknown): ConnectionLost {
    return new ConnectionLost(`The connection to ${this.#name} broke: ${messageOf(cause)}`, {
      cause
    })
  }

  #end(cause: Error): void {
    if (this.#closed !== undefined) return
    this.#closed = this.#lost(cause)
    // Rejects everything pending. It may fail because the socket is already closed, which is fine.
    this.#client.disconnect().catch(() => undefined)
  }

  // Counts replies instead of timing each command, to keep the clock off the hot path.
  #watch(commandTimeoutMs: number): void {
    let seen = 0
    let silentMs = 0
    const timer = setInterval(() => {
      if (this.#closed !== undefined) return clearInterval(timer)
      silentMs = this.pending > 0 && this.#replies === seen ? silentMs + WATCH_MS : 0
      seen = this.#replies
      if (silentMs >= commandTimeoutMs) this.close(`no reply for ${silentMs} ms`)
    }, WATCH_MS)
    timer.unref()
  }
}

function clientOf(
  { host, port }: Address,
  options: ConnectionOptions,
  password: string | undefined
): Client {
  return TEMPLATE.duplicate({
    socket: {
      host,
      port,
      noDelay: true,
      keepAlive: KEEP_ALIVE_MS,
      connectTimeout: options.connectTimeoutMs,
      reconnectStrategy: false,
      ...(options.tls ? { tls: true as const, ...certificates(options) } : {})
    },
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(password === undefined ? {} : { password }),
    disableOfflineQueue: true,
    disableClientInfo: true
  })
}

// A node with too many clients says so without being asked. node-redis takes that for the reply to
// a command. If no command is in flight, it throws inside the socket's data handler, which ends the
// process (4.7.1, commands-queue.js, onReply). So a command is put in flight at once. Any other
// error is left to the commands that follow, which handle it.
async function greet(client: Client): Promise<void> {
  try {
    await client.sendCommand(['PING'])
  } catch (error) {
    if (!isRedisError(error) || error.message.startsWith('ERR max number of clients')) throw error
  }
}

// Redis quotes the arguments of a command that it does not know: texts, or the password of a
// MIGRATE.
function withoutArguments(error: ErrorReply): ErrorReply {
  const quoted = error.message.indexOf(', with args beginning with:')
  return quoted === -1 ? error : new ErrorReply(error.message.slice(0, quoted))
}

/** An error reply of Redis; its message starts with an upper-case word such as MOVED. */
export const isRedisError = (error: unknown): error is ErrorReply => error instanceof ErrorReply

export const isWrongPassword = (error: unknown): boolean =>
  isRedisError(error) && error.message.startsWith('WRONGPASS')
