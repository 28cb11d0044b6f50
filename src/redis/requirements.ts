// What the service needs from Redis: commands, keys and channels. One list serves the check at
// start, the documented least permissions, and the user of the embedded cluster, so that the three
// cannot differ. The check is one script: `redis.acl_check_cmd` (Redis 7.0,
// https://redis.io/docs/latest/develop/interact/programmability/lua-api/) tells whether the user
// may run a command on a key. It runs nothing, writes nothing, and needs no permission except EVAL.
import { DialogsError } from '../errors.js'
import { type Reply } from './connection.js'

export type Requirements = {
  /** The commands on keys that the service or one of its scripts sends; the key comes first. */
  readonly keyed: readonly string[]
  /** Each kind of key: an example, and the pattern that permits it. */
  readonly keys: ReadonlyArray<{ readonly example: string; readonly pattern: string }>
  readonly channels: ReadonlyArray<{ readonly example: string; readonly pattern: string }>
}

const NAMED_MAX = 5
/** What the cluster client itself sends. */
const CLIENT = ['CLUSTER|NODES', 'ASKING', 'PING', 'EVAL', 'EVALSHA']
const CHANNEL = ['SPUBLISH', 'SSUBSCRIBE', 'SUNSUBSCRIBE']
/**
 * The service works without these. INFO tells the memory policy and which replicas are connected;
 * CLUSTER|SHARDS is needed only for nodes that are reached by a name, or at the host that was
 * asked; CLUSTER|COUNTKEYSINSLOT finds keys of a half-moved slot that no node has a mark of any
 * more; DBSIZE shows how many keys a shard has.
 */
const OPTIONAL = ['INFO', 'CLUSTER|SHARDS', 'CLUSTER|COUNTKEYSINSLOT', 'DBSIZE']

/** The rules of `ACL SETUSER` that permit exactly what the service sends. */
export function leastAcl({ keyed, keys, channels }: Requirements): string {
  const patterns = (prefix: string, kinds: Requirements['keys']): string[] => [
    ...new Set(kinds.map(({ pattern }) => `${prefix}${pattern}`))
  ]
  const commands = [...CLIENT, 'WAIT', ...OPTIONAL, ...CHANNEL, ...keyed].map(
    command => `+${command.toLowerCase()}`
  )
  return [
    'resetkeys',
    'resetchannels',
    '-@all',
    ...patterns('~', keys),
    ...patterns('&', channels),
    ...new Set(commands)
  ].join(' ')
}

const CHECK = `
local found = {redis.VALKEY_VERSION and 'Valkey ' .. redis.VALKEY_VERSION or 'Redis ' .. (redis.REDIS_VERSION or 'older than 7.0')}
if not redis.acl_check_cmd then return found end
found[2] = 'checked'
for _, line in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(line, '%S+') do words[#words + 1] = word end
  -- Redis 8.6 takes a command with too few arguments for an unknown one.
  local isKnown, isAllowed
  for _ = 1, 4 do
    isKnown, isAllowed = pcall(redis.acl_check_cmd, unpack(words))
    if isKnown then break end
    words[#words + 1] = '1'
  end
  if not isKnown then found[#found + 1] = 'unknown ' .. line
  elseif not isAllowed then found[#found + 1] = 'denied ' .. line end
end
return found`

/** The command that has one node check everything. `unmetBy` reads its reply. */
export function checkCommand(
  { keyed, keys, channels }: Requirements,
  replicaAcks: number
): string[] {
  const lines = [
    ...CLIENT.filter(command => !command.startsWith('EVAL')).map(command =>
      command.replace('|', ' ')
    ),
    ...(replicaAcks > 0 ? ['WAIT 1 1'] : []),
    ...keys.flatMap(({ example }) => [
      `EVALSHA x 1 ${example}`,
      `EVAL x 1 ${example}`,
      ...keyed.map(command => `${command} ${example}${command === 'RENAME' ? ` ${example}` : ''}`)
    ]),
    ...channels.flatMap(({ example }) =>
      CHANNEL.map(command => `${command} ${example}${command === 'SPUBLISH' ? ' 1' : ''}`)
    )
  ]
  return ['EVAL', CHECK, '0', ...lines]
}

/**
 * The server that answered `checkCommand`, as `Redis 8.2.3` or `Valkey 9.1.2`. Works without INFO.
 */
export const serverIn = (reply: Reply): string => String((reply as readonly string[])[0])

/** What is missing, in one sentence that names each command or key; undefined if nothing is. */
export function unmetBy(reply: Reply, requirements: Requirements): DialogsError | undefined {
  // The script returns a list of strings.
  const [, isChecked, ...found] = reply as readonly string[]
  const server = serverIn(reply)
  if (isChecked === undefined) {
    return new DialogsError(
      'STORE_UNSUITABLE',
      `${server} is too old: the service needs sharded pub/sub and scripts of Redis 7.0.`
    )
  }
  const unknown = unknownIn(found.filter(line => line.startsWith('unknown')))
  if (unknown.length > 0) {
    return new DialogsError(
      'STORE_UNSUITABLE',
      `${server} does not know ${unknown.join(', ')}: the service needs Redis 7.0 or later, with these commands neither renamed nor disabled.`
    )
  }
  const denied = denials(
    found.filter(line => line.startsWith('denied')),
    requirements
  )
  if (denied.length === 0) return undefined
  const hint = denied.some(text => text.startsWith('WAIT'))
    ? ' Without WAIT the service cannot know whether a replica has a write; REPLICA_ACKS=0 gives up that promise.'
    : ''
  return new DialogsError(
    'STORE_DENIED',
    `Redis denies the service ${denied.join(', ')}: grant what compose/README.md lists under "Redis permissions".${hint}`
  )
}

/** An eviction policy deletes messages when memory is full; `noeviction` refuses writes instead. */
export function evictionIn(infoMemory: string): DialogsError | undefined {
  const policy = /^maxmemory_policy:(\S+)/m.exec(infoMemory)?.[1]
  if (policy === undefined || policy === 'noeviction') return undefined
  return new DialogsError(
    'STORE_UNSUITABLE',
    `Redis has maxmemory-policy ${policy}, which deletes stored messages when memory is full: set maxmemory-policy noeviction.`
  )
}

// To keep the message short, a command that is denied for every key is named without keys, and a
// key that is denied to every command without commands.
function denials(found: readonly string[], { keyed, keys }: Requirements): string[] {
  const byCommand = new Map<string, Set<string>>()
  const byKey = new Map<string, Set<string>>()
  for (const line of found) {
    const { name, key } = parseLine(line)
    byCommand.set(name, (byCommand.get(name) ?? new Set()).add(key))
    if (keyed.includes(name)) byKey.set(key, (byKey.get(key) ?? new Set()).add(name))
  }
  const isWhole = (count: number): boolean => count === keys.length
  const closedKeys = [...byKey]
    .filter(([, names]) => names.size === keyed.length && !isWhole(byKey.size))
    .map(([key]) => key)
  const commands = [...byCommand].flatMap(([name, examples]) => {
    const left = [...examples].filter(example => !closedKeys.includes(example))
    if (left.length === 0) return []
    return left[0] === '' || isWhole(left.length) ? [name] : [`${name} on ${left[0] ?? ''}`]
  })
  const named = [...closedKeys.map(key => `keys such as ${key}`), ...commands]
  return named.length > NAMED_MAX
    ? [...named.slice(0, NAMED_MAX), `and ${named.length - NAMED_MAX} more`]
    : named
}

const unknownIn = (found: readonly string[]): string[] => [
  ...new Set(found.map(line => parseLine(line).name))
]

function parseLine(line: string): { readonly name: string; readonly key: string } {
  const [, command = '', ...rest] = line.split(' ')
  return {
    name: command === 'CLUSTER' ? `CLUSTER ${rest[0] ?? ''}` : command,
    key: rest.find(word => word.includes('{')) ?? ''
  }
}
