// A reader of several rooms on one connection, `GET /events?room=a&room=b…`. It reconnects with the
// last id of its stream, and keeps one record per room.
import { type ReaderRecord } from './reader-record.js'
import { SseConnection } from './sse-connection.js'

const RETRY_MS = 500

export class CombinedRecorder {
  readonly records: ReadonlyMap<string, ReaderRecord>
  readonly ends: string[] = []
  readonly #urls: readonly string[]
  #turn = 0
  #cursor = ''
  readonly #headers: Readonly<Record<string, string>>
  #connection: SseConnection | undefined
  #timer: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(
    records: readonly ReaderRecord[],
    urls: readonly string[],
    headers: Readonly<Record<string, string>> = {}
  ) {
    this.#headers = headers
    this.records = new Map(records.map(record => [record.transcript.room, record]))
    this.#urls = urls
  }

  start(): this {
    const query = [...this.records.keys()].map(room => `room=${encodeURIComponent(room)}`).join('&')
    const url = new URL(`${this.#urls[this.#turn++ % this.#urls.length]}/events?${query}`)
    this.#connection = new SseConnection(
      url,
      { ...this.#headers, ...(this.#cursor === '' ? {} : { 'last-event-id': this.#cursor }) },
      {
        onOpen: () => {},
        onFrame: frame => {
          this.#take(frame)
        },
        onEnd: reason => {
          this.ends.push(reason)
          if (!this.#isStopped) {
            this.#timer = setTimeout(() => {
              this.start()
            }, RETRY_MS)
          }
        }
      }
    )
    return this
  }

  cut(): void {
    this.#connection?.cut()
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
    this.#connection?.cut()
  }

  #take(frame: Buffer): void {
    const fields = new Map(
      frame
        .toString()
        .split('\n')
        .map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])
    )
    const [cursor, data] = [fields.get('id'), fields.get('data')]
    if (cursor === undefined || data === undefined) return
    this.#cursor = cursor
    // Every event names its room. Only the cursor of a `reset` tells which sequence of the room
    // comes next.
    const { room, reason = '' } = JSON.parse(data) as { room: string; reason?: string }
    const record = this.records.get(room)
    const seq = Number.parseInt(cursor.split(',')[[...this.records.keys()].indexOf(room)] ?? '', 10)
    switch (fields.get('event')) {
      case undefined:
        return record?.message(seq, Buffer.from(data), performance.now())
      case 'live':
        return record?.live()
      case 'lost':
        return record?.lost(seq)
      case 'reset':
        return record?.reset(seq, reason)
    }
  }
}
