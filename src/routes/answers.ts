// Answers that may be long: pages of messages, users and blocks. Invariant: identical requests
// share one read and one buffer. A limited number of different reads run at the same time, and the
// others wait. If the answers that clients have not taken yet exceed a limit, further requests are
// refused at once.
import { type ServerResponse } from 'node:http'
import { type FastifyReply } from 'fastify'
import pLimit, { type LimitFunction } from 'p-limit'
import { DialogsError } from '../errors.js'
import { Shared } from '../shared.js'

export type AnswersOptions = {
  /** Bytes of finished answers that clients have not taken yet. */
  readonly answersBytesMax: number
  /** Answers that are read from the store at the same time. */
  readonly answerReadsMax: number
}

/** Sends what is JSON already; the schema of a route only describes it. */
export function sendJson(
  reply: Pick<FastifyReply, 'header' | 'serializer'>,
  json: string | Buffer
): FastifyReply {
  return reply.header('content-type', 'application/json; charset=utf-8').send(json)
}

export class Answers {
  readonly #options: AnswersOptions
  readonly #limit: LimitFunction
  readonly #reads = new Shared<Buffer>()
  #bytes = 0

  constructor(options: AnswersOptions) {
    this.#options = options
    this.#limit = pLimit(options.answerReadsMax)
  }

  /** Bytes of answers that clients have not taken yet. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Answers with the JSON that `read` returns.
   * @param key identifies what is asked for: requests with the same key get the same answer
   * @param checkAgain runs before the answer is sent: a read may have to wait, and meanwhile the
   * right to the answer may have ended
   * @throws DialogsError OVERLOADED when too many answers have not been taken; or whatever `read`
   * or `checkAgain` throws
   */
  async send(
    reply: FastifyReply,
    key: string,
    read: () => Promise<string>,
    checkAgain?: () => Promise<void> | undefined
  ): Promise<FastifyReply> {
    if (this.#bytes >= this.#options.answersBytesMax) {
      throw new DialogsError(
        'OVERLOADED',
        'Too many answers have not been taken by their clients: try again in a second.'
      )
    }
    const body = await this.#reads.read(key, () =>
      this.#limit(async () => Buffer.from(await read()))
    )
    const checked = checkAgain?.()
    if (checked !== undefined) await checked
    this.#hold(reply.raw, body.length)
    return sendJson(reply, body)
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
