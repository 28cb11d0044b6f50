// Where a node is reached. Separate from the connection, so that reading the settings does not load
// the client library.

export type Address = { readonly host: string; readonly port: number }

/** `host:port`, by which nodes are known everywhere in the process. */
export const addressKey = (address: Address): string => `${address.host}:${address.port}`

export function addressOf(key: string): Address {
  const colon = key.lastIndexOf(':')
  return { host: key.slice(0, colon), port: Number(key.slice(colon + 1)) }
}
