// A drill whose services require tokens: tokens for its own clients, and streams whose tokens
// expire all the time. Whatever is killed or moved, such a stream ends when its token expires,
// nothing comes over it afterwards, and the expired token opens no other stream.
import { setTimeout as sleep } from 'node:timers/promises'
import { signToken } from '../../src/cli/sign-token.js'
import { SKEW_S } from '../../src/identity/tokens.js'
import { type Lag } from './lag.js'
import { SseConnection } from './sse-connection.js'

const SECRET = 'a-secret-that-only-the-drills-know-of'
const DAY_S = 86_400
const STREAMS = 8
const LIFE_S_MIN = 2
const LIFE_S_MAX = 6
/** A busy machine is late with everything. */
const LATE_MS_MAX = 2_500
const REOPEN_MS = 200
const EXAMPLES_MAX = 5

export type Rights = {
  /** Settings of the services. */
  readonly env: Readonly<Record<string, string>>
  /** The token of a program that writes in the name of others. */
  readonly writer: string
  /** The token of somebody who may read the rooms. */
  readonly reader: string
}

export async function rightsFor(rooms: readonly string[]): Promise<Rights> {
  return {
    env: { AUTH_JWT_SECRET: SECRET },
    writer: await signToken(SECRET, { isAdmin: true, ttlS: DAY_S }),
    reader: await signToken(SECRET, { user: 'drill-reader', read: rooms, ttlS: DAY_S })
  }
}

export const bearer = (token: string | undefined): Readonly<Record<string, string>> =>
  token === undefined ? {} : { authorization: `Bearer ${token}` }

/** Streams whose tokens expire after some seconds, again and again. */
export class ExpiringStreams {
  readonly violations: string[] = []
  /** Streams that were opened, that were told of their expiry, and refusals of expired tokens. */
  readonly counts = { opened: 0, expired: 0, refused: 0 }
  readonly #rooms: readonly string[]
  readonly #urls: readonly string[]
  readonly #random: () => number
  readonly #lag: Pick<Lag, 'overlapMs'>
  #isStopped = false
  #running: Promise<unknown> = Promise.resolve()

  /** @param lag when the machine itself stood still, which is no service's fault */
  constructor(
    rooms: readonly string[],
    urls: readonly string[],
    random: () => number,
    lag: Pick<Lag, 'overlapMs'>
  ) {
    this.#rooms = rooms
    this.#urls = urls
    this.#random = random
    this.#lag = lag
  }

  start(): this {
    this.#running = Promise.all(
      Array.from({ length: STREAMS }, async () => {
        while (!this.#isStopped) {
          await this.#openOne()
          await sleep(REOPEN_MS)
        }
      })
    )
    return this
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #openOne(): Promise<void> {
    const room = this.#rooms[Math.floor(this.#random() * this.#rooms.length)] ?? ''
    const base = this.#urls[Math.floor(this.#random() * this.#urls.length)] ?? ''
    const url = new URL(`${base}/rooms/${encodeURIComponent(room)}/events?last=0`)
    const lifeS = LIFE_S_MIN + Math.floor(this.#random() * (LIFE_S_MAX - LIFE_S_MIN))
    // An expiry is in whole seconds.
    const nowS = Math.floor(Date.now() / 1000)
    const endsAt = 1000 * (nowS + lifeS)
    const token = await signToken(SECRET, {
      user: 'drill-guest',
      read: [room],
      ttlS: lifeS - SKEW_S
    })
    await this.#follow(url, token, endsAt)
    if (Date.now() > endsAt) await this.#checkRefused(url, token)
  }

  // Until it ends, or should have ended.
  async #follow(url: URL, token: string, endsAt: number): Promise<void> {
    let last = ''
    const endsMs = performance.now() + (endsAt - Date.now())
    await new Promise<void>(resolve => {
      let timer: NodeJS.Timeout
      const watch = (): void => {
        const now = performance.now()
        const lateMs = now - endsMs - this.#lag.overlapMs(endsMs, now)
        if (lateMs < LATE_MS_MAX) {
          // At least a millisecond, because timers fire a fraction of one early.
          timer = setTimeout(watch, LATE_MS_MAX - lateMs + 1)
          return
        }
        this.#violate(`${url.href} is open ${LATE_MS_MAX} ms after its token has expired`)
        connection.cut()
        resolve()
      }
      const connection = new SseConnection(url, bearer(token), {
        onOpen: () => {
          this.counts.opened++
        },
        onFrame: frame => {
          if (last.startsWith('event: expired')) {
            this.#violate(`${url.href} got something after expired`)
          }
          last = frame.toString()
        },
        onEnd: () => {
          clearTimeout(timer)
          resolve()
        }
      })
      watch()
    })
    if (last.startsWith('event: expired')) this.counts.expired++
  }

  async #checkRefused(url: URL, token: string): Promise<void> {
    // A service that is being restarted does not answer, or tells its client to come back.
    const status = await fetch(url, { headers: bearer(token) }).then(
      async response => {
        await response.body?.cancel()
        return response.headers.get('content-type')?.includes('json') === true
          ? response.status
          : 'a stream'
      },
      () => undefined
    )
    if (status === 401) this.counts.refused++
    else if (status !== undefined && status !== 503) {
      this.#violate(`${url.href} is answered ${status} with an expired token`)
    }
  }

  /** What happened to them, for people to read. */
  get text(): string {
    const { opened, expired, refused } = this.counts
    return `Rights: ${opened} streams with short tokens, ${expired} told of their expiry, ${refused} refused after it`
  }

  #violate(text: string): void {
    if (this.violations.length < EXAMPLES_MAX) this.violations.push(text)
  }
}
