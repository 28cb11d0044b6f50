// A connection to each node of the benchmarks' cluster: which node owns a key, and what the nodes
// count themselves (INFO). Sends so few commands that the measured load is not disturbed. Assumes
// that the cluster does not change.
import { addressKey, addressOf } from '../src/redis/address.js'
import { Connection, type Reply } from '../src/redis/connection.js'
import { slotOf } from '../src/redis/slots.js'
import { parseClusterNodes, Topology } from '../src/redis/topology.js'

/** Totals of all nodes of a role since they started. */
export type RoleCounters = {
  readonly cpuSeconds: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Calls by command, including those made by scripts. */
  readonly commands: ReadonlyMap<string, number>
}

export type Counters = { readonly masters: RoleCounters; readonly replicas: RoleCounters }

/** How the benchmarks connect to nodes of their own cluster. */
export const NODE_OPTIONS = {
  tls: false,
  tlsCa: undefined,
  username: undefined,
  password: undefined,
  connectTimeoutMs: 2000,
  commandTimeoutMs: 60_000
} as const

// Commands that this file sends itself, which are not counted.
const OWN_COMMANDS = new Set(['info', 'cluster|nodes'])

export class RedisNodes {
  readonly topology: Topology
  readonly #connections: ReadonlyMap<string, Connection>

  private constructor(connections: ReadonlyMap<string, Connection>, topology: Topology) {
    this.#connections = connections
    this.topology = topology
  }

  static async connect(urls: readonly string[]): Promise<RedisNodes> {
    const keys = urls.map(url =>
      addressKey({ host: new URL(url).hostname, port: Number(new URL(url).port) })
    )
    const connections = new Map(
      await Promise.all(
        keys.map(async key => [key, await Connection.open(addressOf(key), NODE_OPTIONS)] as const)
      )
    )
    const views = await Promise.all(
      [...connections].map(async ([key, connection]) =>
        parseClusterNodes(String(await connection.send(['CLUSTER', 'NODES'])), addressOf(key).host)
      )
    )
    return new RedisNodes(connections, Topology.fromViews(views))
  }

  /** `host:port` of each master that owns slots. */
  get masters(): readonly string[] {
    return this.topology.masters
  }

  /** `host:port` of the master that owns a key. */
  ownerOf(key: string): string {
    const owner = this.topology.ownerOf(slotOf(key))
    if (owner === undefined) throw new Error(`Nobody owns the slot of ${key}`)
    return owner
  }

  async send(node: string, args: string[]): Promise<Reply> {
    const connection = this.#connections.get(node)
    if (connection === undefined) throw new Error(`There is no node ${node}`)
    return await connection.send(args)
  }

  /** A command on one key, sent to its owner. */
  async command(key: string, args: string[]): Promise<Reply> {
    return await this.send(this.ownerOf(key), args)
  }

  async counters(): Promise<Counters> {
    const infos = await Promise.all(
      [...this.#connections.values()].map(connection => infoOf(connection))
    )
    const of = (role: string): RoleCounters =>
      sumOf(infos.filter(info => info.get('role') === role))
    return { masters: of('master'), replicas: of('slave') }
  }

  /** The bytes of each master's data by `host:port`, without buffers and connections. */
  async dataBytes(): Promise<Map<string, number>> {
    return new Map(
      await Promise.all(
        this.masters.map(async node => {
          const info = parseInfo(String(await this.send(node, ['INFO', 'memory'])))
          const buffers = [
            'mem_total_replication_buffers',
            'mem_clients_normal',
            'mem_aof_buffer',
            'mem_cluster_links'
          ] as const
          return [
            node,
            numberOf(info, 'used_memory') -
              buffers.reduce((sum, name) => sum + numberOf(info, name), 0)
          ] as const
        })
      )
    )
  }

  async stop(): Promise<void> {
    for (const connection of this.#connections.values()) connection.close('the benchmark is over')
  }
}

/** The difference between two readings. */
export function spentBetween(before: Counters, after: Counters): Counters {
  const role = (role: 'masters' | 'replicas'): RoleCounters => ({
    cpuSeconds: after[role].cpuSeconds - before[role].cpuSeconds,
    bytesIn: after[role].bytesIn - before[role].bytesIn,
    bytesOut: after[role].bytesOut - before[role].bytesOut,
    commands: new Map(
      [...after[role].commands].map(([name, calls]) => [
        name,
        calls - (before[role].commands.get(name) ?? 0)
      ])
    )
  })
  return { masters: role('masters'), replicas: role('replicas') }
}

/** All calls, or those of the commands named. */
export function callsOf({ commands }: RoleCounters, names?: readonly string[]): number {
  return [...commands]
    .filter(([name]) => names === undefined || names.includes(name))
    .reduce((sum, [, calls]) => sum + calls, 0)
}

export const sumOfValues = (values: ReadonlyMap<string, number>): number =>
  [...values.values()].reduce((sum, value) => sum + value, 0)

type Info = ReadonlyMap<string, string>

const infoOf = async (connection: Connection): Promise<Info> =>
  parseInfo(String(await connection.send(['INFO', 'all'])))

function parseInfo(text: string): Info {
  return new Map(
    [...text.matchAll(/^([^:#\r\n]+):([^\r\n]*)/gm)].map(([, name = '', value = '']) => [
      name,
      value
    ])
  )
}

const numberOf = (info: Info, name: string): number => Number(info.get(name) ?? 0)

function sumOf(infos: readonly Info[]): RoleCounters {
  const sum = (...names: string[]): number =>
    infos.reduce(
      (total, info) => total + names.reduce((part, name) => part + numberOf(info, name), 0),
      0
    )
  const commands = new Map<string, number>()
  for (const info of infos) {
    for (const [name, value] of info) {
      const command = name.replace('cmdstat_', '')
      if (!name.startsWith('cmdstat_') || OWN_COMMANDS.has(command)) continue
      commands.set(
        command,
        (commands.get(command) ?? 0) + Number(/calls=(\d+)/.exec(value)?.[1] ?? 0)
      )
    }
  }
  return {
    cpuSeconds: sum('used_cpu_user', 'used_cpu_sys'),
    bytesIn: sum('total_net_input_bytes'),
    bytesOut: sum('total_net_output_bytes'),
    commands
  }
}
