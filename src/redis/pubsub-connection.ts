// One sharded pub/sub connection to one node. node-redis is not used here: when a slot leaves a
// node, the server sends an unrequested `sunsubscribe`, and the library takes it for the reply to
// whatever command is in flight. At the next confirmation the library's queue is empty, and it
// throws inside the socket's data handler (node-redis 4.7.1, commands-queue.js, onReply).
// Invariant: confirmations are matched by channel, errors by order and slot, and onEnd is called
// exactly once. Which node owns a channel, and subscribing again, are matters of subscriber.ts.
import { type Socket } from 'node:net'
import { ErrorReply } from 'redis'
import { type Address } from './address.js'
import { isWrongPassword, type ConnectionOptions } from './connection.js'
import { encodeCommand, ReplyDecoder, type RawReply } from './resp.js'
import { slotOf } from './slots.js'
import { loginOf, openSocket } from './socket.js'

export type PubSubEvents = {
  onMessage: (channel: string, payload: Buffer) => void
  onSubscribed: (channel: string) => void
  /**
   * The server ended the subscription because its slot has left the node, or refused it with an
   * error such as MOVED.
   */
  onUnsubscribed: (channel: string, refusal: Error | undefined) => void
  /** Called once. The reason is Redis' own error if it refused the login. */
  onEnd: (reason: Error) => void
}

type Sent =
  | { readonly kind: 'subscribe' | 'unsubscribe'; readonly channel: string }
  | { readonly kind: 'auth' }

const PING_MS = 1000

export class PubSubConnection {
  readonly #socket: Socket
  readonly #events: PubSubEvents
  readonly #decoder = new ReplyDecoder()
  readonly #sent: Sent[] = []
  readonly #timer: NodeJS.Timeout
  /** Commands of this turn of the event loop, which go out together. */
  #unsent = ''
  #heardAt = performance.now()
  #hasEnded = false
  /** Commands that wait until the password has been read; undefined if none has to be read. */
  #held: string[][] | undefined
  /** Makes the next connection log in with another password. */
  #onWrongPassword = (): void => {}

  constructor(address: Address, options: ConnectionOptions, events: PubSubEvents) {
    this.#events = events
    this.#socket = openSocket(address, options)
    this.#socket.on('data', chunk => {
      this.#heardAt = performance.now()
      for (const reply of this.#decode(chunk)) this.#receive(reply)
    })
    this.#socket.on('error', error => {
      this.#end(error)
    })
    this.#socket.on('close', () => {
      this.#end(new Error('the connection was closed'))
    })
    // This also limits the time for connecting: a silent node is given up after commandTimeoutMs.
    this.#timer = setInterval(
      () => {
        if (performance.now() - this.#heardAt > options.commandTimeoutMs) {
          this.#end(new Error('the node fell silent'))
        } else if (this.#socket.readyState === 'open' && this.#held === undefined) {
          this.#write(['PING'])
        }
      },
      Math.min(PING_MS, options.commandTimeoutMs / 2)
    )
    this.#logIn(options)
  }

  subscribe(channel: string): void {
    this.#sent.push({ kind: 'subscribe', channel })
    this.#write(['SSUBSCRIBE', channel])
  }

  unsubscribe(channel: string): void {
    this.#sent.push({ kind: 'unsubscribe', channel })
    this.#write(['SUNSUBSCRIBE', channel])
  }

  close(): void {
    this.#end(new Error('closed by this process'))
  }

  #logIn(options: ConnectionOptions): void {
    const { password: source } = options
    if (source === undefined) return
    this.#sent.push({ kind: 'auth' })
    if (typeof source === 'string') {
      this.#write(loginOf(options, source))
      return
    }
    const held: string[][] = []
    this.#held = held
    source.current().then(
      password => {
        this.#held = undefined
        this.#onWrongPassword = () => {
          void source.insteadOf(password)
        }
        for (const args of [loginOf(options, password), ...held]) this.#write(args)
      },
      (error: unknown) => {
        this.#end(error instanceof Error ? error : new Error(String(error)))
      }
    )
  }

  // After a restart thousands of readers come at once, each in a room of its own. So all
  // subscriptions of one turn of the event loop share one write to the socket.
  #write(args: string[]): void {
    if (this.#held !== undefined) {
      this.#held.push(args)
      return
    }
    if (this.#unsent === '') {
      setImmediate(() => {
        if (!this.#hasEnded) this.#socket.write(this.#unsent)
        this.#unsent = ''
      })
    }
    this.#unsent += encodeCommand(args)
  }

  #decode(chunk: Buffer): RawReply[] {
    try {
      return this.#decoder.take(chunk)
    } catch (error) {
      this.#end(error instanceof Error ? error : new Error(String(error)))
      return []
    }
  }

  #receive(reply: RawReply): void {
    if (reply instanceof ErrorReply) return this.#refused(reply)
    if (!Array.isArray(reply)) {
      // `OK` answers AUTH. The only other reply that is no array is the PONG before the first
      // subscription.
      if (this.#sent[0]?.kind === 'auth') this.#sent.shift()
      return
    }
    // Every pub/sub message is an array of three. A PONG has two elements, and a kind of its own.
    const [kind, channel, payload] = reply as unknown as readonly [Buffer, Buffer, Buffer | number]
    switch (kind.toString()) {
      case 'smessage':
        // The payload of smessage is always a bulk string.
        this.#events.onMessage(channel.toString(), payload as Buffer)
        break
      case 'ssubscribe': {
        const name = channel.toString()
        // Replies come in order, so everything sent before this subscription has been answered.
        const first = this.#sent[0]
        if (first?.kind === 'subscribe' && first.channel === name) this.#sent.shift()
        else {
          this.#sent.splice(
            0,
            1 + this.#sent.findIndex(sent => sent.kind === 'subscribe' && sent.channel === name)
          )
        }
        this.#events.onSubscribed(name)
        break
      }
      case 'sunsubscribe': {
        const name = channel.toString()
        const next = this.#sent[0]
        if (next?.kind === 'unsubscribe' && next.channel === name) this.#sent.shift()
        else this.#events.onUnsubscribed(name, undefined)
      }
    }
  }

  #refused(error: ErrorReply): void {
    const [word, slot] = error.message.split(' ')
    const next = this.#sent[0]
    // An `unsubscribe` has crossed the server's own `sunsubscribe`, which was taken for its reply.
    // This is the real reply, which nobody expects any more.
    if (
      word === 'MOVED' &&
      next?.kind !== 'auth' &&
      (next === undefined || Number(slot) !== slotOf(next.channel))
    ) {
      return
    }
    this.#sent.shift()
    if (next?.kind === 'auth' && isWrongPassword(error)) this.#onWrongPassword()
    if (next === undefined || next.kind === 'auth') this.#end(error)
    else if (next.kind === 'subscribe') this.#events.onUnsubscribed(next.channel, error)
  }

  #end(reason: Error): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    clearInterval(this.#timer)
    this.#socket.destroy()
    this.#events.onEnd(reason)
  }
}
