// Answers that may be long: pages of messages, users and blocks. Invariant: identical requests
// share one read and one buffer. A limited number of different reads run at the same time, and the
// others wait for their turn (fair-turns.ts). A read that nobody waits for any more is not begun.
// If the answers that clients have not taken yet exceed a limit, further requests are refused at
// once.
import { type ServerResponse } from 'node:http'
import { type FastifyReply } from 'fastify'
import { DialogsError } from '../errors.js'
import { FairTurns } from '../fair-turns.js'
import { PageSizes } from '../page-sizes.js'
import { Shared } from '../shared.js'
import { type ShardOf } from '../shares.js'
import { roomSlot, userSlot } from '../store/keys.js'
import { nameOf } from './limits.js'

export type AnswersOptions = {
  /** Bytes of finished answers that clients have not taken yet. */
  readonly answersBytesMax: number
  /** Answers that are read from the store at the same time. */
  readonly answerReadsMax: number
}

/** What is asked for. Requests for the same get the same answer. */
export type PageOf = {
  readonly kind: 'messages' | 'users' | 'blocks' | 'dialogs'
  /** The room, or for dialogs the person. */
  readonly name: string
  /** Entries at most. */
  readonly limit: number
  /** Whatever else makes a difference, such as the place where the page begins. */
  readonly where: ReadonlyArray<string | number | undefined>
}

export type PageJson = { readonly json: string; readonly entries: number }

/** Sends what is JSON already; the schema of a route only describes it. */
export function sendJson(
  reply: Pick<FastifyReply, 'header' | 'serializer'>,
  json: string | Buffer
): FastifyReply {
  return reply.header('content-type', 'application/json; charset=utf-8').send(json)
}

export class Answers {
  readonly #options: AnswersOptions
  readonly #fair: FairTurns
  readonly #sizes = new PageSizes()
  readonly #reads = new Shared<Buffer>()
  /** Those who wait for a page, by its key. */
  readonly #asking = new Map<string, Set<ServerResponse>>()
  #bytes = 0

  constructor(options: AnswersOptions, shardOf: ShardOf) {
    this.#options = options
    this.#fair = new FairTurns(options.answerReadsMax, shardOf)
  }

  /** Bytes of answers that clients have not taken yet. */
  get bytes(): number {
    return this.#bytes
  }

  /** Reads that wait for their turn. */
  get waiting(): number {
    return this.#fair.waiting
  }

  /**
   * Answers with the JSON that `read` returns.
   * @param page identifies what is asked for: requests for the same page get the same answer
   * @param checkAgain runs before the answer is sent: a read may have to wait, and meanwhile the
   * right to the answer may have ended
   * @throws DialogsError OVERLOADED when too many answers have not been taken; or whatever `read`
   * or `checkAgain` throws
   */
  async send(
    reply: FastifyReply,
    page: PageOf,
    read: () => Promise<PageJson>,
    checkAgain?: () => Promise<void> | undefined
  ): Promise<FastifyReply> {
    if (this.#bytes >= this.#options.answersBytesMax) {
      throw new DialogsError(
        'OVERLOADED',
        'Too many answers have not been taken by their clients: try again in a second.'
      )
    }
    const { kind, name, limit, where } = page
    const key = JSON.stringify([kind, name, limit, ...where])
    const asking = this.#asking.get(key) ?? new Set()
    this.#asking.set(key, asking.add(reply.raw))
    try {
      const body = await this.#reads.read(key, () => this.#read(reply, page, asking, read))
      const checked = checkAgain?.()
      if (checked !== undefined) await checked
      this.#hold(reply.raw, body.length)
      return sendJson(reply, body)
    } finally {
      asking.delete(reply.raw)
      if (asking.size === 0) this.#asking.delete(key)
    }
  }

  async #read(
    reply: FastifyReply,
    { kind, name, limit }: PageOf,
    asking: ReadonlySet<ServerResponse>,
    read: () => Promise<PageJson>
  ): Promise<Buffer> {
    const subject = `${kind} ${name}`
    const expected = this.#sizes.expected(subject, limit)
    const slot = kind === 'dialogs' ? userSlot(name) : roomSlot(name)
    const work = { client: nameOf(reply.request), bytes: expected, slot }
    return await this.#fair.run(work, async () => {
      if ([...asking].every(({ destroyed }) => destroyed)) {
        throw new DialogsError('REQUEST_TIMEOUT', 'The client left before its page was read.')
      }
      const { json, entries } = await read()
      const body = Buffer.from(json)
      this.#sizes.note(subject, entries, body.length)
      return body
    })
  }

  #hold(response: ServerResponse, bytes: number): void {
    // The client may have left during the read.
    if (response.destroyed) return
    this.#bytes += bytes
    response.once('close', () => {
      this.#bytes -= bytes
    })
  }
}
