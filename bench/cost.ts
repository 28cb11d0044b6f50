// What a message costs the store: commands, bytes and processor time, as counted by the Redis
// nodes. Returns rows for a table, and figures by name for model.ts. There is one figure for all
// rounds, because counts, unlike rates, hardly vary.
import {
  callsOf,
  spentBetween,
  type Counters,
  type RedisNodes,
  type RoleCounters
} from './redis-nodes.js'
import { figure, row, type Row, type Table } from './table.js'

export type StoreCost = { readonly spent: Counters; readonly messages: number }

const MICROSECONDS = 1e6
const COMMANDS_SHOWN_MIN = 0.005

/**
 * Measures what the store spends while `work` runs. `work` resolves with the number of messages.
 */
export async function spending<T extends { readonly messages: number }>(
  redis: RedisNodes,
  work: () => Promise<T>
): Promise<T & { readonly store: StoreCost }> {
  const before = await redis.counters()
  const done = await work()
  return {
    ...done,
    store: { spent: spentBetween(before, await redis.counters()), messages: done.messages }
  }
}

export function costTable(
  title: string,
  costs: readonly StoreCost[],
  more: readonly Row[] = []
): Table {
  const { masters, replicas } = costPerMessage(costs)
  return {
    title,
    rows: [
      row('commands on the masters, those inside scripts counted', '', [masters.calls]),
      row('bytes into the masters', 'B', [masters.bytesIn]),
      row('bytes out of the masters, to replicas and subscribers too', 'B', [masters.bytesOut]),
      row('processor time of the masters', 'µs', [masters.cpuUs]),
      row('processor time of the replicas', 'µs', [replicas.cpuUs]),
      ...more
    ],
    notes: [`Commands on the masters for a message: ${commandsText(costs)}.`]
  }
}

/** `xadd 2, evalsha 1.1`: the most frequent first, without rare ones. */
function commandsText(costs: readonly StoreCost[]): string {
  const messages = costs.reduce((sum, cost) => sum + cost.messages, 0)
  const calls = new Map<string, number>()
  for (const { spent } of costs) {
    for (const [name, count] of spent.masters.commands) {
      calls.set(name, (calls.get(name) ?? 0) + count)
    }
  }
  return [...calls]
    .map(([name, count]) => [name, count / messages] as const)
    .filter(([, perMessage]) => perMessage >= COMMANDS_SHOWN_MIN)
    .sort(([, a], [, b]) => b - a)
    .map(([name, perMessage]) => `${name} ${figure(perMessage)}`)
    .join(', ')
}

export type RoleCost = {
  readonly calls: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly cpuUs: number
}

export function costPerMessage(costs: readonly StoreCost[]): {
  masters: RoleCost
  replicas: RoleCost
} {
  const messages = costs.reduce((sum, cost) => sum + cost.messages, 0)
  const per = (role: 'masters' | 'replicas', figure: (counters: RoleCounters) => number): number =>
    costs.reduce((sum, { spent }) => sum + figure(spent[role]), 0) / messages
  const of = (role: 'masters' | 'replicas'): RoleCost => ({
    calls: per(role, counters => callsOf(counters)),
    bytesIn: per(role, ({ bytesIn }) => bytesIn),
    bytesOut: per(role, ({ bytesOut }) => bytesOut),
    cpuUs: per(role, ({ cpuSeconds }) => cpuSeconds * MICROSECONDS)
  })
  return { masters: of('masters'), replicas: of('replicas') }
}
