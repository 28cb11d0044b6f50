// A reader of several rooms on one connection, `GET /events?room=a&room=b…`, by the client that
// the page and other programs use: it resumes with its cursors, and notices silence by itself. As
// behind a load balancer, each connection goes to the next of several services. Keeps one record
// per room.
//
// The other readers of a drill speak the protocol themselves (recorder.ts), so that a fault of the
// client cannot hide one of the service, and because a thousand of them must cost little.
import { Dialogs, Refusal, type StreamEvent } from '../../src/client/dialogs.js'
import { type ReaderRecord } from './reader-record.js'

export class CombinedRecorder {
  readonly records: ReadonlyMap<string, ReaderRecord>
  readonly ends: string[] = []
  readonly #dialogs: Dialogs
  readonly #end = new AbortController()
  #connection = new AbortController()

  constructor(
    records: readonly ReaderRecord[],
    urls: readonly string[],
    headers: Readonly<Record<string, string>> = {}
  ) {
    this.records = new Map(records.map(record => [record.transcript.room, record]))
    let turn = 0
    this.#dialogs = new Dialogs({
      url: urls[0] ?? '',
      fetch: (url, init) => {
        const { pathname, search } = new URL(url)
        this.#connection = new AbortController()
        const signals = [this.#connection.signal, ...(init.signal ? [init.signal] : [])]
        return fetch(`${urls[turn++ % urls.length]}${pathname}${search}`, {
          ...init,
          headers: { ...Object.fromEntries(new Headers(init.headers)), ...headers },
          signal: AbortSignal.any(signals)
        })
      }
    })
  }

  start(): this {
    void this.#run()
    return this
  }

  /** Breaks its connection. It reconnects with its cursors. */
  cut(): void {
    this.#connection.abort(new Error('cut by the drill'))
  }

  stop(): void {
    this.#end.abort()
  }

  async #run(): Promise<void> {
    const { signal } = this.#end
    try {
      for await (const event of this.#dialogs.stream([...this.records.keys()], { signal })) {
        this.#take(event)
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      this.ends.push(`refused for good: ${error.message}`)
    }
  }

  #take(event: StreamEvent): void {
    if (event.type === 'down') this.ends.push(String(event.error ?? 'the stream was ended'))
    if (!('cursor' in event)) return
    const record = this.records.get(event.room)
    switch (event.type) {
      case 'message':
        // The client keeps a message's fields in the order of the service: these are its bytes.
        return record?.message(
          event.message.seq,
          Buffer.from(JSON.stringify(event.message)),
          performance.now()
        )
      case 'live':
        return record?.live()
      case 'lost':
        return record?.lost(event.seq)
      case 'reset':
        // Only the cursor tells which sequence comes next.
        return record?.reset(Number.parseInt(event.cursor, 10), event.reason)
    }
  }
}
