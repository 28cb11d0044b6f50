// A socket of the simulated network as the service sees it: the part of net.Socket that the service
// uses. Invariant: what was written arrives unchanged, in order, in pieces of any size, perhaps
// late; or it does not arrive at all. Nothing comes after 'close'.
import { EventEmitter } from 'node:events'

/** Transports a socket's bytes: the network. */
export type Carrier = {
  send: (bytes: Buffer) => void
  /** This side has closed the connection. */
  close: () => void
}

export class SimulatedSocket extends EventEmitter {
  carrier: Carrier | undefined
  readyState: 'opening' | 'open' | 'closed' = 'opening'
  readonly #after: (ms: number, run: () => void) => { run: (() => void) | undefined }
  #corked: Buffer[] | undefined
  #timeout: { run: (() => void) | undefined } | undefined

  constructor(after: (ms: number, run: () => void) => { run: (() => void) | undefined }) {
    super()
    this.#after = after
  }

  get destroyed(): boolean {
    return this.readyState === 'closed'
  }

  write(data: string | Buffer): boolean {
    if (this.readyState === 'closed') return false
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    if (this.#corked !== undefined || this.readyState === 'opening') {
      ;(this.#corked ??= []).push(bytes)
    } else this.carrier?.send(bytes)
    return true
  }

  cork(): void {
    this.#corked ??= []
  }

  uncork(): void {
    if (this.readyState === 'opening') return
    const corked = this.#corked
    this.#corked = undefined
    if (corked !== undefined && corked.length > 0 && this.readyState === 'open') {
      this.carrier?.send(corked.length === 1 ? (corked[0] as Buffer) : Buffer.concat(corked))
    }
  }

  destroy(error?: Error): this {
    if (this.readyState === 'closed') return this
    this.readyState = 'closed'
    this.setTimeout(0)
    this.carrier?.close()
    // As in Node: after the code that is running now, and the error first.
    process.nextTick(() => {
      if (error !== undefined) this.emit('error', error)
      this.emit('close', error !== undefined)
    })
    return this
  }

  end(): this {
    return this.destroy()
  }

  setTimeout(ms: number, onTimeout?: () => void): this {
    if (this.#timeout !== undefined) this.#timeout.run = undefined
    this.#timeout = ms > 0 && onTimeout !== undefined ? this.#after(ms, onTimeout) : undefined
    return this
  }

  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }

  /** Called by the network. */
  connected(): void {
    if (this.readyState !== 'opening') return
    this.readyState = 'open'
    this.emit('connect')
    this.uncork()
  }

  /** Called by the network. */
  receive(bytes: Buffer): void {
    if (this.readyState === 'open') this.emit('data', bytes)
  }

  /** Called by the network: the other side, or something in between, has ended the connection. */
  broken(error: Error | undefined): void {
    this.destroy(error)
  }
}
