// A program that runs in a container of the service's image, in the containers' network. It posts
// and reads through nginx as browsers would, until its standard input ends. Then it waits until
// every reader has everything, and prints one line of JSON (`Report`). It is passed to Node as
// text, so it imports only Node's own modules.
import http from 'node:http'

export type Orders = {
  readonly url: string
  readonly room: string
  readonly writers: number
  readonly readers: number
  /** How long a writer waits between two messages. */
  readonly pauseMs: number
  /**
   * Repeats a failed POST with its Idempotency-Key for a minute. Without this, each failure counts.
   */
  readonly isPersistent: boolean
}

export type Report = {
  readonly posted: number
  readonly failures: readonly string[]
  readonly slowestMs: number
  readonly readers: ReadonlyArray<{
    readonly frames: number
    readonly reconnects: number
    /**
     * Holes, repeated frames, `lost`, `reset`, and any status for which an EventSource gives up.
     */
    readonly faults: readonly string[]
  }>
  /** Acknowledged messages that a reader lacks, or has under another sequence. */
  readonly missing: readonly string[]
}

const orders = JSON.parse(process.argv[1] ?? '') as Orders
const path = `/rooms/${encodeURIComponent(orders.room)}`
const agent = new http.Agent({ keepAlive: true })
const acknowledged = new Map<number, string>()
const failures: string[] = []
const over = new AbortController()
let slowestMs = 0

const RETRY_MS_MAX = 60_000
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

type Answer = { readonly status: number; readonly body: string }

function send(text: string, key: string | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      `${orders.url}${path}/messages`,
      {
        agent,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(key === undefined ? {} : { 'idempotency-key': key })
        }
      },
      response => {
        let body = ''
        response.setEncoding('utf8')
        response.on('data', chunk => {
          body += String(chunk)
        })
        response.on('end', () => {
          resolve({ status: response.statusCode ?? 0, body })
        })
        response.on('error', reject)
      }
    )
    request.setTimeout(30_000, () => request.destroy(new Error('no answer within 30 s')))
    request.on('error', reject)
    request.end(JSON.stringify({ user: 'ann', text }))
  })
}

async function write(writer: number): Promise<void> {
  for (let n = 1; !over.signal.aborted; n++) {
    const text = `${writer}-${n}`
    const begun = performance.now()
    const problem = await post(text, begun)
    slowestMs = Math.max(slowestMs, performance.now() - begun)
    if (problem !== undefined) failures.push(`${new Date().toISOString()} ${text}: ${problem}`)
    await sleep(orders.pauseMs)
  }
}

// Returns why a message was not acknowledged; undefined if it was.
async function post(text: string, begun: number): Promise<string | undefined> {
  const key = orders.isPersistent ? `${orders.room}-${text}` : undefined
  for (;;) {
    const problem = await send(text, key).then(
      ({ status, body }) => {
        if (status !== 201 && status !== 200) return `${status} ${body.slice(0, 200)}`
        acknowledged.set(Number((JSON.parse(body) as { seq: number }).seq), text)
        return undefined
      },
      (error: Error) => error.message
    )
    if (problem === undefined || key === undefined) return problem
    if (performance.now() - begun > RETRY_MS_MAX) return problem
    await sleep(200)
  }
}

// Behaves like an EventSource: it resumes with the last id, and any status but 200 counts as a
// fault.
class Reader {
  readonly faults: string[] = []
  readonly texts = new Map<number, string>()
  connections = 0
  head = 0
  #lastId = ''
  #retryMs = 1000
  #request: http.ClientRequest | undefined

  async run(): Promise<void> {
    while (!this.isDone) {
      this.connections++
      await this.#connect()
      await sleep(this.#retryMs)
    }
  }

  isDone = false

  stop(): void {
    this.isDone = true
    this.#request?.destroy()
  }

  #connect(): Promise<void> {
    return new Promise(resolve => {
      const headers = {
        accept: 'text/event-stream',
        ...(this.#lastId === '' ? {} : { 'last-event-id': this.#lastId })
      }
      this.#request = http.get(
        `${orders.url}${path}/events`,
        { agent: false, headers },
        response => {
          if (response.statusCode !== 200) {
            this.faults.push(`status ${response.statusCode}`)
            response.resume()
          }
          let rest = ''
          response.setEncoding('utf8')
          response.on('data', chunk => {
            const events = (rest + String(chunk)).split('\n\n')
            rest = events.pop() ?? ''
            for (const event of events) this.#take(event)
          })
          response.on('error', () => undefined)
          response.on('close', resolve)
        }
      )
      this.#request.on('error', () => {
        resolve()
      })
    })
  }

  #take(text: string): void {
    const fields = new Map(
      text.split('\n').map(line => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon), line.slice(colon + 1).trim()]
      })
    )
    const retry = fields.get('retry')
    if (retry !== undefined) this.#retryMs = Number(retry)
    const id = fields.get('id')
    if (id !== undefined) this.#lastId = id
    const kind = fields.get('event') ?? 'message'
    if (kind === 'lost' || kind === 'reset') this.faults.push(`${kind} ${fields.get('data') ?? ''}`)
    const data = fields.get('data')
    if (kind !== 'message' || data === undefined) return
    const message = JSON.parse(data) as { seq: number; text: string }
    if (message.seq !== this.head + 1) this.faults.push(`${message.seq} after ${this.head}`)
    this.head = Math.max(this.head, message.seq)
    this.texts.set(message.seq, message.text)
  }
}

const readers = Array.from({ length: orders.readers }, () => new Reader())
for (const reader of readers) void reader.run()
const writing = Promise.all(Array.from({ length: orders.writers }, (_, index) => write(index + 1)))
process.stdin.resume()
await new Promise(resolve => process.stdin.once('close', resolve).once('end', resolve))
over.abort()
await writing

const head = Math.max(0, ...acknowledged.keys())
const deadline = performance.now() + 30_000
while (readers.some(reader => reader.head < head) && performance.now() < deadline) await sleep(20)
for (const reader of readers) reader.stop()
const missing = [...acknowledged]
  .filter(([seq, text]) => readers.some(reader => reader.texts.get(seq) !== text))
  .map(([seq, text]) => {
    const found = readers.map(reader => reader.texts.get(seq) ?? 'nothing').join(', ')
    return `${seq}: ${text}, readers have ${found}`
  })
const report: Report = {
  posted: acknowledged.size,
  failures: failures.slice(0, 50),
  slowestMs: Math.round(slowestMs),
  readers: readers.map(({ texts, connections, faults }) => ({
    frames: texts.size,
    reconnects: connections - 1,
    faults: faults.slice(0, 50)
  })),
  missing: missing.slice(0, 50)
}
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0))
