// Requests to the service: addresses, the token, time limits, and refusals as errors. A request is
// repeated only if its token had expired, and then once; all other retries are the caller's.
// Addresses are relative to the base, so that a proxy may put the whole service below a path.
import { fieldsOf } from './answers.js'
import { Refusal } from './refusal.js'

export type ClientOptions = {
  /** Where the service is, with or without a path: `https://chat.example.org/dialogs`. */
  readonly url: string | URL
  /**
   * Sent as `Authorization: Bearer`; an empty one is not sent. A function is called for the first
   * request, and again whenever the service says that the token has expired.
   */
  readonly token?: string | (() => string | Promise<string>) | undefined
  /** Default: the global `fetch`. */
  readonly fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined
  /**
   * How long an answer may take; a stream has limits of its own. Default 20 s, which outlasts a
   * failover.
   */
  readonly requestMsMax?: number | undefined
  /**
   * Where `online` is announced when the network is back. Default: the global object, if it is an
   * EventTarget as in browsers.
   */
  readonly network?: EventTarget | undefined
}

export type Query = Readonly<Record<string, string | number | undefined>>
export type RequestOptions = {
  readonly method?: string
  readonly query?: Query | URLSearchParams
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly body?: unknown
  readonly signal?: AbortSignal | undefined
}

const REQUEST_MS_MAX = 20_000
/** Browsers refuse `keepalive` for more than 64 KiB, and a character may have four bytes. */
const KEEPALIVE_LENGTH_MAX = 16_000

export class Http {
  readonly network: EventTarget | undefined
  readonly #base: string
  readonly #options: ClientOptions
  #token: Promise<string> | undefined

  /** @throws TypeError when the address is not one of http or https */
  constructor(options: ClientOptions) {
    this.#options = options
    this.#base = baseOf(options.url)
    this.network = options.network
  }

  /** Whether a new token can be asked for when one has expired. */
  get canRenew(): boolean {
    return typeof this.#options.token === 'function'
  }

  /** The next request asks for a new token. */
  forgetToken(): void {
    this.#token = undefined
  }

  /** The JSON of the answer; undefined for 204. @throws Refusal, or what `fetch` throws */
  async request(path: string, options: RequestOptions = {}): Promise<unknown> {
    const timeout = AbortSignal.timeout(this.#options.requestMsMax ?? REQUEST_MS_MAX)
    const signal =
      options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout])
    const response = await this.open(path, { ...options, signal })
    return response.status === 204 ? undefined : await response.json()
  }

  /** The response, with its body not read yet. @throws Refusal, or what `fetch` throws */
  async open(path: string, options: RequestOptions): Promise<Response> {
    try {
      return await this.#open(path, options)
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 401 || !this.canRenew) throw error
      this.forgetToken()
      return await this.#open(path, options)
    }
  }

  async #open(
    path: string,
    { method = 'GET', query = {}, headers = {}, body, signal }: RequestOptions
  ): Promise<Response> {
    const url = new URL(path, this.#base)
    const pairs = query instanceof URLSearchParams ? query : Object.entries(query)
    for (const [name, value] of pairs) {
      if (value !== undefined) url.searchParams.append(name, String(value))
    }
    const send = this.#options.fetch ?? fetch
    const token = await this.#authorization()
    const text = body === undefined ? undefined : JSON.stringify(body)
    const response = await send(url.href, {
      method,
      headers: {
        ...headers,
        ...(token === undefined || token === '' ? {} : { authorization: `Bearer ${token}` }),
        ...(text === undefined ? {} : { 'content-type': 'application/json' })
      },
      ...(text === undefined ? {} : { body: text }),
      ...(signal === undefined ? {} : { signal }),
      // What a page sends goes out even if the page is closed right afterwards.
      keepalive: text !== undefined && text.length <= KEEPALIVE_LENGTH_MAX
    })
    if (!response.ok) throw await refusalOf(response)
    return response
  }

  async #authorization(): Promise<string | undefined> {
    const { token } = this.#options
    if (typeof token !== 'function') return token
    const asked = (this.#token ??= Promise.resolve(token()))
    try {
      return await asked
    } catch (error) {
      // The next request asks again.
      if (this.#token === asked) this.#token = undefined
      throw error
    }
  }
}

async function refusalOf(response: Response): Promise<Refusal> {
  // A proxy's error page is not JSON.
  const body: unknown = await response.json().catch(() => ({}))
  const { code, message } = fieldsOf(typeof body === 'object' && body !== null ? body : {})
  const seconds = Number(response.headers.get('retry-after') ?? 0)
  return new Refusal(
    response.status,
    typeof code === 'string' ? code : 'NO_CODE',
    typeof message === 'string' ? message : `The service answered ${response.status}.`,
    Number.isFinite(seconds) ? seconds * 1000 : 0
  )
}

/**
 * A name as a part of a path. @throws Refusal for a name that would be resolved away instead, as
 * the service refuses it
 */
export function part(name: string): string {
  if (name === '.' || name === '..') {
    throw new Refusal(400, 'INVALID_NAME', 'The name is only dots, which no URL can hold.')
  }
  return encodeURIComponent(name)
}

// Checked at once: as a failure of the network, a wrong address would be retried for minutes.
function baseOf(address: string | URL): string {
  const url = URL.canParse(String(address)) ? new URL(address) : undefined
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new TypeError(`The url must begin with http:// or https://: ${String(address)}`)
  }
  return `${url.origin}${url.pathname.replace(/\/*$/, '/')}`
}
