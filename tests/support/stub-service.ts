// A real HTTP server that accepts messages like the service but keeps them in an array, and that
// misbehaves as a test decides. For programs that post. It knows idempotency keys but no limits.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { text as textOf } from 'node:stream/consumers'
import type { Test } from 'tap'

export type Stored = {
  readonly room: string
  readonly seq: number
  readonly user: string
  readonly text: string
  readonly at: string
}

export type Post = {
  /** How many posts arrived, including repeated ones. */
  readonly index: number
  readonly path: string
  readonly key: string | undefined
  readonly isRepeated: boolean
}

/**
 * What it does with a post: store and answer it; store it and cut the connection; cut the
 * connection before storing; or answer this.
 */
export type Behaviour =
  | 'store'
  | 'store-and-cut'
  | 'cut'
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body: unknown }

export class StubService {
  readonly stored: Stored[] = []
  readonly url: string
  posts = 0
  readonly #behave: (post: Post) => Behaviour | Promise<Behaviour>
  readonly #seqs = new Map<string, number>()
  readonly #once = new Map<string, Stored>()
  readonly #keys = new Set<string>()

  private constructor(url: string, behave: (post: Post) => Behaviour | Promise<Behaviour>) {
    this.url = url
    this.#behave = behave
  }

  static async start(
    t: Test,
    behave: (post: Post) => Behaviour | Promise<Behaviour> = () => 'store'
  ): Promise<StubService> {
    const server = createServer((request, response) => {
      stub.#take(request, response).catch((error: unknown) => {
        response.destroy(error instanceof Error ? error : undefined)
      })
    })
    server.listen(0, '127.0.0.1')
    t.teardown(() => {
      server.closeAllConnections()
      server.close()
    })
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('The stub has no port.')
    const stub = new StubService(`http://127.0.0.1:${address.port}`, behave)
    return stub
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? ''
    const room = /^\/rooms\/([^/]+)\/messages$/.exec(path)?.[1]
    const key = request.headers['idempotency-key']?.toString()
    const index = this.posts++
    const isRepeated = key !== undefined && this.#keys.has(key)
    if (key !== undefined) this.#keys.add(key)
    const body: unknown = JSON.parse(await textOf(request))
    const behaviour = await this.#behave({ index, path, key, isRepeated })
    if (room === undefined || request.method !== 'POST') {
      return answer(response, 404, { code: 'NOT_FOUND', message: 'There is no such page.' })
    }
    if (behaviour === 'cut') return cut(request)
    if (typeof behaviour === 'object') {
      return answer(response, behaviour.status, behaviour.body, behaviour.headers)
    }
    const before = key === undefined ? undefined : this.#once.get(key)
    const message = before ?? this.#store(decodeURIComponent(room), body)
    if (key !== undefined) this.#once.set(key, message)
    if (behaviour === 'store-and-cut') return cut(request)
    answer(response, before === undefined ? 201 : 200, message)
  }

  #store(room: string, body: unknown): Stored {
    if (typeof body !== 'object' || body === null || !('user' in body) || !('text' in body)) {
      throw new Error('That is not a message.')
    }
    const seq = (this.#seqs.get(room) ?? 0) + 1
    this.#seqs.set(room, seq)
    const message = {
      room,
      seq,
      user: String(body.user),
      text: String(body.text),
      at: new Date().toISOString()
    }
    this.stored.push(message)
    return message
  }
}

function cut(request: IncomingMessage): void {
  request.socket.destroy()
}

function answer(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {}
): void {
  response
    .writeHead(status, { ...headers, 'content-type': 'application/json' })
    .end(JSON.stringify(body))
}
