// Which Host headers are answered. A page of any site can point one of its own names at 127.0.0.1
// and then send requests here that look as if they came from here (DNS rebinding). The browser
// still sends the page's name as Host. So a service that listens on loopback answers only to
// loopback's names, and if ALLOWED_HOSTS is set, any service answers only to the names in it.

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/
const LOOPBACK_NAMES = ['localhost', '.localhost', '127.0.0.1', '[::1]']
// RFC 3986, section 3.2.2: a name, an IPv4 address, or an IPv6 address in brackets. No comma, which
// would join two Host lines into one.
const HOST = /^((?:[\w.~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?$/

export class Hosts {
  readonly #allowed: readonly string[] | undefined
  // Most clients of a process send the same header.
  #lastAllowed = ''

  /**
   * @param allowed names; `.name` allows every name below it, `*` any. If empty: loopback's names
   * if `listen` is loopback, otherwise any
   */
  constructor(allowed: readonly string[], listen: string) {
    // A service on loopback can always be reached by its own names, whatever names its proxy passes
    // on.
    const names =
      allowed.length === 0 && !LOOPBACK.test(listen)
        ? ['*']
        : LOOPBACK.test(listen)
          ? [...allowed, ...LOOPBACK_NAMES]
          : allowed
    this.#allowed = names.includes('*') ? undefined : names.map(name => name.toLowerCase())
  }

  /** What is wrong with a Host header (with or without a port); undefined if it is answered. */
  faultOf(host: string): 'malformed' | 'foreign' | undefined {
    if (host === this.#lastAllowed) return undefined
    const name = HOST.exec(host)?.[1]?.toLowerCase().replace(/\.$/, '')
    if (name === undefined || name === '') return 'malformed'
    if (
      this.#allowed !== undefined &&
      !this.#allowed.some(allowed =>
        allowed.startsWith('.') ? name.endsWith(allowed) : name === allowed
      )
    ) {
      return 'foreign'
    }
    this.#lastAllowed = host
    return undefined
  }
}
