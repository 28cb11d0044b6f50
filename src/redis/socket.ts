// The socket of the pub/sub connection to a Redis node, plain or with TLS, and the command that
// logs in on it. node-redis opens the other connections' sockets with the same settings.
import net, { type Socket } from 'node:net'
import tls from 'node:tls'
import { type Address } from './address.js'

export type SocketOptions = {
  readonly tls: boolean
  /** PEM of a certificate authority to trust besides the system's. */
  readonly tlsCa: string | undefined
  /** PEM of the certificate and key by which this client identifies itself. */
  readonly tlsCert?: string | undefined
  readonly tlsKey?: string | undefined
}

/** A peer that has vanished without a word is noticed by the system after this silence. */
export const KEEP_ALIVE_MS = 5000

/** Opens a socket. Commands may be written at once; they are sent when it has connected. */
export function openSocket(address: Address, options: SocketOptions): Socket {
  const socket = options.tls
    ? tls.connect({ ...address, ...certificates(options), ...serverName(address.host) })
    : net.connect(address.port, address.host)
  socket.setNoDelay(true)
  socket.setKeepAlive(true, KEEP_ALIVE_MS)
  return socket
}

/** The command that logs in. */
export const loginOf = (
  { username }: { readonly username: string | undefined },
  password: string
): string[] => (username === undefined ? ['AUTH', password] : ['AUTH', username, password])

/** Settings for TLS. Certificates are checked against the host's name or address. */
export function certificates({ tlsCa, tlsCert, tlsKey }: SocketOptions): {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
} {
  return {
    ...(tlsCa === undefined ? {} : { ca: tlsCa }),
    ...(tlsCert === undefined ? {} : { cert: tlsCert }),
    ...(tlsKey === undefined ? {} : { key: tlsKey })
  }
}

// The name by which a server with several certificates selects one. An IP address is not a name
// (RFC 6066, section 3).
const serverName = (host: string): { servername?: string } =>
  net.isIP(host) === 0 ? { servername: host } : {}
