// The options of the cluster command: what is allowed, and the help text. Only parses words; does
// not look at the cluster.
import { parseArgs } from 'node:util'
import { messageOf } from '../../errors.js'
import { type Address, addressOf } from '../../redis/address.js'
import { readName, readNumber, UsageError } from '../options.js'
import { SPEED_DEFAULT } from './mover.js'
import { readSlots } from './slots.js'

export const HELP = `Shows the Redis Cluster and changes it while the service keeps running: the cluster of REDIS_NODES,
or else the embedded cluster of the service that runs with this DATA_DIR.

  npm run cluster -- status
  npm run cluster -- add         starts another shard of the embedded cluster, with one replica
  npm run cluster -- rebalance   … and gives it its share

Commands
  status                     nodes, health, slots, keys, memory, half-moved slots
    --room NAME              also shows which block of the room lies on which shard
    --json
  add                        starts the nodes of another shard of the embedded cluster; it has no
                             slots yet
    --replicas N             how many replicas it has; default 1
  add HOST:PORT [HOST:PORT …]  adds these empty nodes: a master and its replicas
    --replica-of NODE        adds them as replicas of this master instead; without addresses, starts
                             one in the embedded cluster
  drain NODE                 moves all its slots to the other masters that have some, evenly
    --to NODE,NODE           moves them to these instead
  remove NODE                removes a drained master and its replicas, or one replica, for good;
                             embedded nodes are ended
    --keep-replicas          the replicas stay, and follow the masters with the fewest
  reshard                    moves slots
    --from NODE,NODE|all  --to NODE
    --slots COUNT|RANGES|all   1000 takes slots from the fullest masters, 0-99,200-299 takes exactly
                             these
  rebalance                  gives all masters, empty ones too, the same number of slots, with as
                             few moves as possible
  finish                     finishes half-moved slots; every command that moves slots does this
                             first
  failover NODE              promotes this replica, or the best replica of this master, without
                             losing a write

NODE is an id or at least its first six characters, host:port, or a port.

  --speed PERCENT            share of the time in which nodes are kept busy with moving, 1 to 100;
                             default ${SPEED_DEFAULT}
  --by-keys                  moves key by key even if the servers can move slots by themselves
                             (Valkey 9, Redis 8.4); their own moves do not depend on --speed
  --yes                      does not ask
  --help

Ctrl-C finishes the current slots and says how to continue; a second one stops at once, and the next
command repairs the rest.
Exit status: 0 done, 1 refused or failed (status: unhealthy), 2 wrong usage, 130 interrupted.`

export type Order =
  | { readonly name: 'status'; readonly room: string | undefined; readonly isJson: boolean }
  | {
      readonly name: 'add'
      readonly addresses: readonly Address[]
      readonly replicaOf: string | undefined
      readonly replicas: number
    }
  | { readonly name: 'drain'; readonly node: string; readonly to: readonly string[] }
  | { readonly name: 'remove'; readonly node: string; readonly isKeepingReplicas: boolean }
  | {
      readonly name: 'reshard'
      readonly from: readonly string[] | 'all'
      readonly to: string
      readonly slots: ReturnType<typeof readSlots>
    }
  | { readonly name: 'rebalance' | 'finish' }
  | { readonly name: 'failover'; readonly node: string }

export type ClusterOptions = {
  readonly order: Order | 'help'
  readonly speed: number
  readonly isByKeys: boolean
  readonly isYes: boolean
}

const OPTIONS = {
  room: { type: 'string' },
  json: { type: 'boolean' },
  replicas: { type: 'string' },
  'replica-of': { type: 'string' },
  'keep-replicas': { type: 'boolean' },
  from: { type: 'string' },
  to: { type: 'string' },
  slots: { type: 'string' },
  speed: { type: 'string' },
  'by-keys': { type: 'boolean' },
  yes: { type: 'boolean' },
  help: { type: 'boolean' }
} as const

const COMMON = ['speed', 'by-keys', 'yes', 'help']
/** Which options a command takes, and the maximum number of words after its name. */
const COMMANDS: Readonly<
  Record<Order['name'], { readonly options: readonly string[]; readonly words: number }>
> = {
  status: { options: ['room', 'json'], words: 0 },
  add: { options: ['replicas', 'replica-of'], words: Infinity },
  drain: { options: ['to'], words: 1 },
  remove: { options: ['keep-replicas'], words: 1 },
  reshard: { options: ['from', 'to', 'slots'], words: 0 },
  rebalance: { options: [], words: 0 },
  finish: { options: [], words: 0 },
  failover: { options: [], words: 1 }
}

/** @throws UsageError */
export function readClusterOptions(args: readonly string[]): ClusterOptions {
  const {
    values,
    positionals: [name, ...words]
  } = parse(args)
  const common = {
    speed:
      readNumber('speed', values.speed, { min: 1, max: 100, isFraction: true }) ?? SPEED_DEFAULT,
    isByKeys: values['by-keys'] === true,
    isYes: values.yes === true
  }
  if (values.help === true) return { ...common, order: 'help' }
  if (name === undefined || !isCommand(name)) {
    throw new UsageError(
      `${name === undefined ? 'Say what to do' : `There is no command '${name}'`}: ${Object.keys(COMMANDS).join(', ')}.`
    )
  }
  const { options, words: wordsMax } = COMMANDS[name]
  const stray = Object.keys(values).find(
    option => !options.includes(option) && !COMMON.includes(option)
  )
  if (stray !== undefined) throw new UsageError(`${name} takes no --${stray}.`)
  if (words.length > wordsMax) {
    throw new UsageError(`${name} does not know what to do with '${words[wordsMax]}'.`)
  }
  const [node] = words
  const required = (value: string | undefined, what: string): string => {
    if (value === undefined || value === '') throw new UsageError(`${name} needs ${what}.`)
    return value
  }
  const order = (): Order => {
    switch (name) {
      case 'status':
        return {
          name,
          room: values.room === undefined ? undefined : readName('room', values.room),
          isJson: values.json === true
        }
      case 'add': {
        if (
          values.replicas !== undefined &&
          (words.length > 0 || values['replica-of'] !== undefined)
        ) {
          throw new UsageError(
            '--replicas is for a new shard of the embedded cluster: otherwise name the nodes.'
          )
        }
        return {
          name,
          addresses: words.map(readAddress),
          replicaOf: values['replica-of'],
          replicas: readNumber('replicas', values.replicas, { min: 0, max: 5 }) ?? 1
        }
      }
      case 'drain':
        return { name, node: required(node, 'a node'), to: list(values.to) }
      case 'remove':
        return {
          name,
          node: required(node, 'a node'),
          isKeepingReplicas: values['keep-replicas'] === true
        }
      case 'reshard': {
        const from = required(values.from, '--from NODE, or all')
        return {
          name,
          from: from === 'all' ? 'all' : list(from),
          to: required(values.to, '--to NODE'),
          slots: readSlots(required(values.slots, '--slots: a count, ranges, or all'))
        }
      }
      case 'failover':
        return { name, node: required(node, 'a node of the shard') }
      default:
        return { name }
    }
  }
  return { ...common, order: order() }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, strict: true, allowPositionals: true })
  } catch (error) {
    throw new UsageError(messageOf(error), { cause: error })
  }
}

const isCommand = (name: string): name is Order['name'] => Object.hasOwn(COMMANDS, name)

const list = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map(part => part.trim())
    .filter(part => part !== '')

function readAddress(text: string): Address {
  const address = addressOf(text)
  if (
    !/^[^:\s]+:\d+$|^\[[\da-f:]+\]:\d+$/i.test(text) ||
    address.port < 1 ||
    address.port > 65535
  ) {
    throw new UsageError(`add needs addresses like 10.0.0.7:6379, not '${text}'.`)
  }
  return { host: address.host.replace(/^\[(.*)\]$/, '$1'), port: address.port }
}
