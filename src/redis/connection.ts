// One connection to one Redis node. It speaks the protocol itself, because below node-redis' client
// there is no public way to write a whole group at once. The commands of a turn of the event loop
// are one string and one write, and a reply costs no promise. Invariant: a connection is used once.
// When it breaks or falls silent, it is closed, everything in flight is rejected at once, and the
// caller opens a new one. So a dead node costs milliseconds.
import { type Socket } from 'node:net'
import { ErrorReply } from '@redis/client'
import { messageOf } from '../errors.js'
import { addressKey, type Address } from './address.js'
import { currentPassword, type Password } from './password.js'
import { encodeCommand, ReplyDecoder, type Decoded } from './resp.js'
import { loginOf, openSocket, type SocketOptions } from './socket.js'

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
const FORGOTTEN_AT_ONCE = 1024

/** The connection broke, was refused or fell silent. Commands in flight may or may not have run. */
export class ConnectionLost extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ConnectionLost'
  }
}

/** Who waits for a reply. */
export type Receiver = {
  received: (reply: Reply) => void
  /** @param error ConnectionLost, or Redis' error reply */
  failed: (error: unknown) => void
}

export class Connection {
  readonly #socket: Socket
  readonly #decoder = ReplyDecoder.ofTexts()
  /** In the order of their commands. Those before `#answered` have been answered. */
  #receivers: Receiver[] = []
  #answered = 0
  /** The commands of this turn. */
  #unwritten = ''
  #replies = 0
  #isReady = false
  #closed: ConnectionLost | undefined

  private constructor(address: Address, options: ConnectionOptions) {
    this.#socket = openSocket(address, options)
    this.#socket.on('data', chunk => {
      this.#take(chunk)
    })
    this.#socket.on('error', error => {
      this.#end(error)
    })
    this.#socket.on('close', () => {
      this.#end(new Error('the connection was closed'))
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
    const connection = new Connection(address, options)
    const timer = setTimeout(() => {
      connection.close('it did not answer the greeting in time')
    }, options.connectTimeoutMs)
    try {
      await connection.#greet(password === undefined ? undefined : loginOf(options, password))
    } catch (error) {
      connection.close('it could not be opened')
      throw isRedisError(error)
        ? error
        : new ConnectionLost(`No connection to ${addressKey(address)}: ${messageOf(error)}`, {
            cause: error
          })
    } finally {
      clearTimeout(timer)
    }
    connection.#watch(options.commandTimeoutMs)
    return connection
  }

  get isUsable(): boolean {
    return this.#closed === undefined && this.#isReady
  }

  /** Commands waiting for their reply. */
  get pending(): number {
    return this.#receivers.length - this.#answered
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

  /** As `send`, without a promise: one for each command is expensive on the hot path. */
  dispatch(args: readonly string[], receiver: Receiver): void {
    if (this.#closed !== undefined) {
      receiver.failed(this.#closed)
      return
    }
    this.#receivers.push(receiver)
    if (this.#unwritten === '') {
      setImmediate(() => {
        this.#write()
      })
    }
    this.#unwritten += encodeCommand(args)
  }

  close(reason: string): void {
    this.#end(new Error(reason))
  }

  // A node with too many clients says so instead of the reply to the first command, and closes the
  // connection. Any other refusal of PING is left to the commands that follow, which handle it.
  async #greet(login: readonly string[] | undefined): Promise<void> {
    const isLoggedIn = login === undefined ? undefined : this.send(login)
    const isGreeted = this.send(['PING']).catch((error: unknown) => {
      if (!isRedisError(error) || error.message.startsWith('ERR max number of clients')) throw error
    })
    await Promise.all([isLoggedIn, isGreeted])
    this.#isReady = true
  }

  #write(): void {
    const text = this.#unwritten
    this.#unwritten = ''
    if (this.#closed === undefined) this.#socket.write(text)
  }

  #take(chunk: Buffer): void {
    for (const reply of this.#decode(chunk)) {
      const receiver = this.#receivers[this.#answered]
      // Nobody has asked: a node that closes the connection says why.
      if (receiver === undefined) return this.#end(new Error(`it said ${String(reply)}`))
      this.#answered++
      this.#replies++
      if (reply instanceof ErrorReply) receiver.failed(withoutArguments(reply))
      else receiver.received(reply as Reply) // there are no errors inside of arrays
    }
    this.#forgetAnswered()
  }

  #decode(chunk: Buffer): ReadonlyArray<Decoded<string>> {
    try {
      return this.#decoder.take(chunk)
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(String(error)))
      return []
    }
  }

  // Mostly everything is answered. Otherwise the array is shortened now and then: for each reply
  // that would cost as much as it is long.
  #forgetAnswered(): void {
    if (this.#answered === this.#receivers.length) this.#receivers.length = 0
    else if (this.#answered > FORGOTTEN_AT_ONCE) this.#receivers.splice(0, this.#answered)
    else return
    this.#answered = 0
  }

  #end(cause: Error): void {
    if (this.#closed !== undefined) return
    this.#closed = new ConnectionLost(`The connection broke: ${cause.message}`, { cause })
    this.#socket.destroy()
    for (const receiver of this.#receivers.splice(this.#answered)) receiver.failed(this.#closed)
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
