// Which Host headers are answered. A page of any site can point a name of its own at 127.0.0.1 and
// then post here as if it came from here (DNS rebinding): the browser still sends that name. So a
// service that listens on loopback answers to loopback's names only, and any service answers to the
// names in ALLOWED_HOSTS alone if there are some.

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/
const LOOPBACK_NAMES = ['localhost', '.localhost', '127.0.0.1', '[::1]']
// RFC 3986 section 3.2.2: a name, an IPv4 address, or an IPv6 address in brackets. No comma, which
// joins two Host lines into one.
const HOST = /^((?:[\w.~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?$/

export class Hosts {
  readonly #allowed: readonly string[] | undefined
  // Clients of one process mostly send the same one.
  #lastAllowed = ''

  /**
   * @param allowed names, `.name` for all below it, `*` for any; empty: loopback's when `listen` is
   * loopback, otherwise any
   */
  constructor(allowed: readonly string[], listen: string) {
    // A service on loopback stays reachable by its own names, whatever others its proxy passes on.
    const names =
      allowed.length === 0 && !LOOPBACK.test(listen)
        ? ['*']
        : LOOPBACK.test(listen)
          ? [...allowed, ...LOOPBACK_NAMES]
          : allowed
    this.#allowed = names.includes('*') ? undefined : names.map(name => name.toLowerCase())
  }

  /**
   * Whether a Host header (with or without a port) is one: 'malformed', 'foreign', or undefined
   * when it is answered.
   */
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
