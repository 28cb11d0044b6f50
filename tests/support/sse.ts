// A reader of one stream for tests: plain HTTP, parsed by eventsource-parser, kept in memory. It
// does not reconnect. Tests that need reconnection use the package `eventsource` or a real browser.
import http from 'node:http'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import type { Test } from 'tap'
import { until } from './until.js'

export type Seen = {
  readonly id: string
  readonly event: string
  readonly data: Record<string, unknown>
}

export class SseReader {
  /** All but heartbeats. */
  readonly events: Seen[] = []
  /** When heartbeats came, on the clock of performance.now(). */
  readonly pings: number[] = []
  /** Everything that was received, unparsed. */
  text = ''
  status = 0
  headers: http.IncomingHttpHeaders = {}
  hasEnded = false
  readonly #request: http.ClientRequest
  #response: http.IncomingMessage | undefined

  constructor(url: string, headers: http.OutgoingHttpHeaders = {}) {
    const parser = createParser({
      onEvent: event => {
        if (event.event === 'ping') this.pings.push(performance.now())
        else this.events.push(seen(event))
      }
    })
    this.#request = http.get(url, { headers, agent: false }, response => {
      this.#response = response
      this.status = response.statusCode ?? 0
      this.headers = response.headers
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        this.text += chunk
        parser.feed(chunk)
      })
      response.on('close', () => {
        this.hasEnded = true
      })
      // In tests, a cut connection is an end like any other.
      response.on('error', () => undefined)
    })
    this.#request.on('error', () => {
      this.hasEnded = true
    })
  }

  /** The sequences of the messages in the order of arrival. */
  get seqs(): number[] {
    return this.events
      .filter(({ event }) => event === 'message')
      .map(({ data }) => Number(data['seq']))
  }

  get lastId(): string {
    return this.events.at(-1)?.id ?? ''
  }

  async sees(
    what: string,
    holds: (events: readonly Seen[]) => boolean,
    deadlineMs?: number
  ): Promise<void> {
    await until(what, () => holds(this.events), deadlineMs)
  }

  async isLive(): Promise<void> {
    await this.sees('the stream is live', events => events.some(({ event }) => event === 'live'))
  }

  pause(): void {
    this.#response?.pause()
  }

  resume(): void {
    this.#response?.resume()
  }

  close(): void {
    this.#request.destroy()
  }
}

// The parser sets `id` and `event` only if the stream contains them.
const seen = ({ id, event, data }: EventSourceMessage): Seen => ({
  id: id ?? '',
  event: event ?? 'message',
  data: JSON.parse(data) as Record<string, unknown>
})

export function openSse(t: Test, url: string, headers?: http.OutgoingHttpHeaders): SseReader {
  const reader = new SseReader(url, headers)
  t.teardown(() => {
    reader.close()
  })
  return reader
}
