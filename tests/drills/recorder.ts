// A reader of one room. Like an EventSource it reconnects by itself with its cursor, and as behind
// a load balancer each time to the next of several services. What it receives goes to its record.
import { type ReaderRecord } from './reader-record.js'
import { SseConnection } from './sse-connection.js'

export type RecorderOptions = {
  /** For services that ask for a token. */
  readonly headers?: Readonly<Record<string, string>>
  /** Base addresses of the services; the first connection goes to `urls[first]`. */
  readonly urls: readonly string[]
  readonly first?: number
  /** `after=12` or `last=50`; by default the whole history. */
  readonly query?: string
  readonly bytesPerSecond?: number
}

/** How long an EventSource waits until the stream sets another `retry`. */
const RETRY_MS = 1000
/** After a refusal the next service is tried soon, as a load balancer would do. */
const REFUSED_MS = 50

const LINE_FEED = 10

export class Recorder {
  readonly record: ReaderRecord
  readonly #options: RecorderOptions
  #turn: number
  #cursor = ''
  #retryMs = RETRY_MS
  #bytesPerSecond: number | undefined
  #connection: SseConnection | undefined
  #timer: NodeJS.Timeout | undefined
  #isStopped = false
  connects = 0
  /** Why its connections ended, the newest last. */
  readonly ends: string[] = []

  constructor(record: ReaderRecord, options: RecorderOptions) {
    this.record = record
    this.#options = options
    this.#turn = options.first ?? 0
    this.#bytesPerSecond = options.bytesPerSecond
  }

  start(): this {
    this.#connect()
    return this
  }

  /** Breaks its connection. It reconnects with its cursor. */
  cut(): void {
    this.#connection?.cut()
  }

  throttle(bytesPerSecond: number | undefined): void {
    this.#bytesPerSecond = bytesPerSecond
    this.#connection?.throttle(bytesPerSecond)
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
    this.#connection?.cut()
  }

  #connect(): void {
    const { urls, query } = this.#options
    const base = urls[this.#turn++ % urls.length] ?? ''
    const path = `/rooms/${encodeURIComponent(this.record.transcript.room)}/events`
    let isOpen = false
    this.#connection = new SseConnection(
      new URL(`${base}${path}${query === undefined ? '' : `?${query}`}`),
      {
        ...this.#options.headers,
        ...(this.#cursor === '' ? {} : { 'last-event-id': this.#cursor })
      },
      {
        onOpen: () => {
          isOpen = true
          this.connects++
        },
        onFrame: frame => {
          this.#take(frame)
        },
        onEnd: reason => {
          this.#connection = undefined
          this.ends.push(reason)
          if (this.#isStopped) return
          this.#timer = setTimeout(
            () => {
              this.#connect()
            },
            isOpen ? this.#retryMs : REFUSED_MS
          )
        }
      },
      this.#bytesPerSecond
    )
  }

  // A frame is `id: <seq>-<ms>`, then perhaps `event: <name>`, then `data: …`; or `retry: <ms>`; or
  // a heartbeat, `event: ping`; or `event: behind`, after which `live` comes again; or a comment.
  #take(frame: Buffer): void {
    if (frame.toString('latin1', 0, 4) !== 'id: ') return this.#takeOther(frame.toString('latin1'))
    const idEnd = frame.indexOf(LINE_FEED)
    const cursor = frame.toString('latin1', 4, idEnd)
    const seq = Number.parseInt(cursor, 10)
    const isMessage = frame[idEnd + 1] === DATA[0]
    if (isMessage) {
      this.record.message(seq, frame.subarray(idEnd + 1 + DATA.length), performance.now())
    } else this.#takeEvent(seq, frame.toString('utf8', idEnd + 1))
    this.#cursor = cursor
  }

  #takeEvent(seq: number, lines: string): void {
    const event = /^event: (\w+)$/m.exec(lines)?.[1]
    if (event === 'live') this.record.live()
    else if (event === 'lost') this.record.lost(seq)
    else if (event === 'reset') this.record.reset(seq, /"reason":"([^"]+)"/.exec(lines)?.[1] ?? '')
    else throw new Error(`A frame that is no event of this service: ${lines}`)
  }

  #takeOther(text: string): void {
    const retryMs = /^retry: (\d+)$/.exec(text)?.[1]
    if (retryMs !== undefined) this.#retryMs = Number(retryMs)
    else if (!/^(?:event: (?:ping|behind)\n|:)/.test(text)) {
      throw new Error(`A frame that is no event of this service: ${text}`)
    }
  }
}

const DATA = Buffer.from('data: ')
