// What REDIS_NODES and its companions say about the Redis Cluster and how to log in. Invariant: no
// error quotes any part of a URL or a file name, because a mistyped setting may hold a password.
import { readFileSync } from 'node:fs'
import { type Address, addressKey } from '../redis/address.js'
import { type Password } from '../redis/password.js'
import { parseAddress } from '../redis/topology.js'
import { quoted, SettingError } from './kinds.js'
import { fileFault, passwordFrom, type PasswordSettings } from './redis-password.js'

export type RedisTarget = {
  readonly seeds: readonly Address[]
  readonly tls: boolean
  readonly tlsCa: string | undefined
  readonly tlsCert: string | undefined
  readonly tlsKey: string | undefined
  readonly username: string | undefined
  readonly password: Password | undefined
  readonly addressMap: ReadonlyMap<string, Address>
}

/** The settings beside REDIS_NODES. */
export type RedisCompanions = PasswordSettings & {
  readonly redisAddressMap?: string
  readonly redisTlsCa?: string
  readonly redisTlsCert?: string
  readonly redisTlsKey?: string
}

/**
 * Parses REDIS_NODES and reads the files that its companions name. All URLs must agree on TLS, user
 * and password.
 * @throws SettingError that quotes nothing of a URL: if the URL is malformed, any part of it may
 * belong to the password
 */
export function redisTarget(
  nodes: readonly string[],
  {
    redisAddressMap = '',
    redisTlsCa = '',
    redisTlsCert = '',
    redisTlsKey = '',
    ...passwordSettings
  }: RedisCompanions = {}
): RedisTarget {
  const urls = nodes.map((node, index) => {
    const fault = urlFault(node.trim())
    if (fault !== undefined) {
      throw new SettingError(
        `REDIS_NODES must hold redis:// or rediss:// URLs such as redis://user:password@host:6379, but number ${index + 1} of ${nodes.length} ${fault}`
      )
    }
    return new URL(node.trim())
  })
  const [first] = urls
  const login = ({ protocol, username, password }: URL): string =>
    [protocol, username, password].join(' ')
  if (first === undefined || urls.some(url => login(url) !== login(first))) {
    throw new SettingError('REDIS_NODES must have the same protocol, user and password in all URLs')
  }
  const isTls = first.protocol === 'rediss:'
  for (const [name, file] of [
    ['REDIS_TLS_CA', redisTlsCa],
    ['REDIS_TLS_CERT', redisTlsCert],
    ['REDIS_TLS_KEY', redisTlsKey]
  ] as const) {
    if (file !== '' && !isTls) {
      throw new SettingError(
        `${name} is set, but REDIS_NODES has redis:// URLs: without TLS it does nothing, use rediss://`
      )
    }
  }
  if ((redisTlsCert === '') !== (redisTlsKey === '')) {
    throw new SettingError('REDIS_TLS_CERT and REDIS_TLS_KEY must be set together')
  }
  return {
    seeds: urls.map(({ hostname, port }) => ({
      host: hostname.replace(/^\[(.*)\]$/, '$1'),
      port: port === '' ? 6379 : Number(port)
    })),
    tls: isTls,
    tlsCa: readPem('REDIS_TLS_CA', redisTlsCa),
    tlsCert: readPem('REDIS_TLS_CERT', redisTlsCert),
    tlsKey: readPem('REDIS_TLS_KEY', redisTlsKey),
    username: first.username === '' ? undefined : decodeURIComponent(first.username),
    password: passwordFrom(decodeURIComponent(first.password), passwordSettings),
    addressMap: parseAddressMap(redisAddressMap)
  }
}

const ENCODE_PASSWORD =
  'percent-encode user and password (@ is %40, : is %3A, / is %2F, # is %23, ? is %3F, % is %25, a comma is %2C)'

function urlFault(node: string): string | undefined {
  if (node === '') return 'is empty: remove a comma'
  if (!/^rediss?:\/\//.test(node)) {
    return `begins with something else: separate URLs by commas, without quotes, and ${ENCODE_PASSWORD}`
  }
  if (!URL.canParse(node)) {
    return `is not a URL: ${ENCODE_PASSWORD}, and give the port as a number up to 65535`
  }
  const { hostname, pathname, search, hash, username, password } = new URL(node)
  if (hostname === '') return 'has no host'
  // Such a character in a password would end the host part of the URL, and the beginning of the
  // password would be taken for host and port.
  if (search !== '' || hash !== '' || !/^\/?0?$/.test(pathname)) {
    return `has more behind its port than /0, the only database of a cluster: ${ENCODE_PASSWORD}`
  }
  if (/[\s%"'<>\\^`{|}]/.test(hostname)) {
    return `has a host that cannot be one: separate URLs by commas, and ${ENCODE_PASSWORD}`
  }
  if ((node.match(/@/g)?.length ?? 0) > 1) return `has more than one @: ${ENCODE_PASSWORD}`
  try {
    decodeURIComponent(username + password)
    return undefined
  } catch {
    return `has a % that encodes nothing: ${ENCODE_PASSWORD}`
  }
}

const LIKE_PAIR = /^[\d.:]{1,45}[=:\s]{0,3}[\d.:]{0,45}$/

function parseAddressMap(text: string): Map<string, Address> {
  const map = new Map<string, Address>()
  for (const pair of text.split(',').filter(pair => pair.trim() !== '')) {
    const [announced, reachable] = pair
      .trim()
      .split('=')
      .map(text => parseAddress(text, ''))
    if (
      announced === undefined ||
      reachable === undefined ||
      announced.host === '' ||
      reachable.host === '' ||
      pair.split('=').length !== 2
    ) {
      throw new SettingError(
        `REDIS_ADDRESS_MAP must hold pairs such as 10.0.0.1:6379=localhost:7001, not ${quoted(pair, LIKE_PAIR)}`
      )
    }
    map.set(addressKey(announced), reachable)
  }
  return map
}

function readPem(name: string, file: string): string | undefined {
  if (file === '') return undefined
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new SettingError(`${name} must name a file that can be read, but ${fileFault(error)}`)
  }
}
