// How much a plan moves from whom to whom: slots, keys, and roughly bytes; and whether the takers
// have enough memory. The bytes are the keys' share of the source's dataset, because measuring each
// key would take as long as moving it.
import { type Admin } from './admin.js'
import { type ClusterMap, nodeText } from './map.js'
import { type Move } from './plan.js'
import { Refusal } from './refusal.js'
import { bytesText } from './table.js'

export type Weight = {
  readonly from: string
  readonly to: string
  readonly slots: readonly number[]
  readonly keys: number
  readonly bytes: number
}

/** Bytes of data on each living master, by id. */
export async function readDatasets(admin: Admin, map: ClusterMap): Promise<Map<string, number>> {
  const masters = map.masters.filter(({ state }) => state === 'up')
  return new Map(
    await Promise.all(
      masters.map(async node => {
        const memory = String(await admin.ask(node, 'INFO', 'memory'))
        // This figure leaves out what an empty node needs as well.
        return [node.id, Math.max(0, field(memory, 'used_memory_dataset'))] as const
      })
    )
  )
}

/** One weight for each pair of masters, in the order of the moves. */
export function weigh(
  moves: readonly Move[],
  keys: ReadonlyMap<string, readonly number[]>,
  datasets: ReadonlyMap<string, number>
): Weight[] {
  const weights = new Map<
    string,
    { from: string; to: string; slots: number[]; keys: number; bytes: number }
  >()
  const totals = new Map(
    [...keys].map(([id, counts]) => [id, counts.reduce((sum, count) => sum + count, 0)])
  )
  for (const { slot, from, to } of moves) {
    const pair = `${from} ${to}`
    const weight = weights.get(pair) ?? { from, to, slots: [], keys: 0, bytes: 0 }
    weights.set(pair, weight)
    const count = keys.get(from)?.[slot] ?? 0
    weight.slots.push(slot)
    weight.keys += count
    weight.bytes += ((datasets.get(from) ?? 0) * count) / Math.max(1, totals.get(from) ?? 0)
  }
  return [...weights.values()]
}

/**
 * @throws Refusal when a taker's maxmemory would be exceeded: it would refuse keys half-way, or
 * evict others
 */
export async function checkRoom(
  admin: Admin,
  map: ClusterMap,
  weights: readonly Weight[]
): Promise<void> {
  for (const id of new Set(weights.map(({ to }) => to))) {
    const node = map.nodes.get(id)
    if (node === undefined) continue
    const memory = String(await admin.ask(node, 'INFO', 'memory'))
    const bytesMax = field(memory, 'maxmemory')
    const bytes = weights
      .filter(({ to }) => to === id)
      .reduce((sum, weight) => sum + weight.bytes, 0)
    if (bytesMax > 0 && field(memory, 'used_memory') + bytes > bytesMax) {
      throw new Refusal(
        `${nodeText(node)} has no room for about ${bytesText(bytes)} more: its maxmemory is ${bytesText(bytesMax)}. Give it more, or move less.`
      )
    }
  }
}

const field = (info: string, name: string): number =>
  Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0)
