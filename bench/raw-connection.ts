// A connection to a Redis node at the least cost: it writes encoded pipelines, and looks only for
// the end of the replies. It shows the limit of the store, not of a client library. Invariant: one
// pipeline is in flight at a time.
import net from 'node:net'
import { addressOf } from '../src/redis/address.js'

// Sent after each pipeline: no other reply looks like the reply to this.
const LAST = Buffer.from('*1\r\n$4\r\nPING\r\n')
const LAST_REPLY = Buffer.from('+PONG\r\n')
const ERROR_REPLY = Buffer.from('\r\n-')
const ERROR = '-'.charCodeAt(0)

export class RawConnection {
  readonly #socket: net.Socket
  #waiting:
    | { readonly resolve: (replyBytes: number) => void; readonly reject: (error: Error) => void }
    | undefined
  #replyBytes = 0
  #end = Buffer.alloc(0)

  /** @param node `host:port` */
  constructor(node: string) {
    const { host, port } = addressOf(node)
    this.#socket = net.connect(port, host)
    this.#socket.setNoDelay(true)
    this.#socket.on('data', chunk => {
      this.#receive(chunk)
    })
    this.#socket.on('error', error => {
      this.#fail(error)
    })
    this.#socket.on('close', () => {
      this.#fail(new Error(`The connection to ${node} was closed`))
    })
  }

  /**
   * Sends encoded commands and resolves with the size of all their replies.
   * @throws Error with the first error reply
   */
  async exchange(commands: string | Buffer): Promise<number> {
    return await new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      this.#replyBytes = 0
      this.#socket.write(commands)
      this.#socket.write(LAST)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): void {
    if ((this.#replyBytes === 0 && chunk[0] === ERROR) || chunk.includes(ERROR_REPLY)) {
      const from = chunk[0] === ERROR ? 0 : chunk.indexOf(ERROR_REPLY) + 2
      return this.#fail(
        new Error(`Redis answered ${chunk.toString('utf8', from, from + 200).split('\r\n')[0]}`)
      )
    }
    this.#replyBytes += chunk.length
    this.#end = Buffer.concat([this.#end, chunk.subarray(-LAST_REPLY.length)]).subarray(
      -LAST_REPLY.length
    )
    if (!this.#end.equals(LAST_REPLY)) return
    this.#end = Buffer.alloc(0)
    this.#waiting?.resolve(this.#replyBytes - LAST_REPLY.length)
    this.#waiting = undefined
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error)
    this.#waiting = undefined
    this.#socket.destroy()
  }
}
