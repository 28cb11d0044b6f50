// What `status` prints: the cluster in readable form or as JSON. Only asks.
import { addressKey } from '../../redis/address.js'
import { SLOT_COUNT } from '../../redis/slots.js'
import { type Block } from '../../store/blocks.js'
import { count, counted } from '../progress.js'
import { type Admin } from './admin.js'
import { findUnfinished, type Unfinished } from './half-moved.js'
import { type MapNode } from './map.js'
import { rangesOf, slotsText } from './slots.js'
import { bytesText, table } from './table.js'

type NodeStatus = {
  readonly id: string
  readonly address: string
  readonly state: MapNode['state']
  readonly keys: number | null
  readonly memoryBytes: number | null
}

export type ShardStatus = {
  readonly master: NodeStatus
  readonly replicas: readonly NodeStatus[]
  readonly slotCount: number
  readonly slots: ReadonlyArray<readonly [first: number, last: number]>
}

/** `from` and `to` are addresses. */
export type HalfMoved = {
  readonly slot: number
  readonly from: string
  readonly to: string
  readonly keysAtSource: number
  readonly keysAtTarget: number
}

export type Status = {
  readonly isHealthy: boolean
  readonly faults: readonly string[]
  readonly warnings: readonly string[]
  readonly shards: readonly ShardStatus[]
  readonly halfMoved: readonly HalfMoved[]
  /** Leftover marks without meaning; the next command that moves slots removes them. */
  readonly staleMarks: Unfinished['staleMarks']
  /** Another cluster command is moving slots now, so half-moved slots are expected. */
  readonly isBeingChanged: boolean
}

/** Asks every node. Figures of a node that does not answer are null. */
export async function readStatus(admin: Admin): Promise<Status> {
  const map = await admin.look()
  const { moves, staleMarks, keys } = await findUnfinished(admin, map)
  const shards = await Promise.all(
    map.masters.map(async master => {
      const slots = map.slotsOf(master.id)
      return {
        master: await describe(admin, master),
        replicas: await Promise.all(
          map.replicasOf(master.id).map(replica => describe(admin, replica))
        ),
        slotCount: slots.length,
        slots: rangesOf(slots)
      }
    })
  )
  const where = (id: string): string =>
    addressKey(map.nodes.get(id)?.reachable ?? { host: 'unknown', port: 0 })
  const halfMoved = moves.map(({ slot, from, to }) => ({
    slot,
    from: where(from),
    to: where(to),
    keysAtSource: keys.get(from)?.[slot] ?? 0,
    keysAtTarget: keys.get(to)?.[slot] ?? 0
  }))
  const isBeingChanged = (await admin.findWorker(map)) !== undefined
  return {
    isHealthy: map.faults.length === 0,
    faults: map.faults,
    warnings: map.warnings,
    shards,
    halfMoved,
    staleMarks,
    isBeingChanged
  }
}

export function statusText(status: Status): string {
  const { shards, faults, warnings, halfMoved, staleMarks, isBeingChanged } = status
  const nodes = shards.reduce((sum, { replicas }) => sum + 1 + replicas.length, 0)
  const head = `${counted(shards.length, 'shard')}, ${counted(nodes, 'node')}: ${faults.length > 0 ? 'NOT HEALTHY' : `healthy, all ${count(SLOT_COUNT)} slots have an owner`}`
  const rows = shards.flatMap(({ master, replicas, slotCount, slots }) => [
    [
      master.address,
      master.id.slice(0, 8),
      'master',
      master.state,
      count(slotCount),
      ...figures(master),
      slotsText(slots.flatMap(spread), 8)
    ],
    ...replicas.map(replica => [
      `  ${replica.address}`,
      replica.id.slice(0, 8),
      'replica',
      replica.state,
      '',
      ...figures(replica),
      ''
    ])
  ])
  return [
    head,
    ...[...faults, ...warnings].map(line => `  ${line}`),
    '',
    table(['node', 'id', 'role', 'state', '>slots', '>keys', '>memory', 'slot ranges'], rows),
    ...(halfMoved.length === 0
      ? []
      : [
          '',
          isBeingChanged
            ? 'Being moved now:'
            : 'Half-moved slots (the next command that moves finishes them, or: npm run cluster -- finish):'
        ]),
    ...halfMoved
      .slice(0, LINES_MAX)
      .map(
        ({ slot, from, to, keysAtSource, keysAtTarget }) =>
          `  ${slot}  ${from}, ${count(keysAtSource)} keys → ${to}, ${count(keysAtTarget)} keys`
      ),
    ...(halfMoved.length > LINES_MAX ? [`  … and ${halfMoved.length - LINES_MAX} more`] : []),
    ...(staleMarks.length === 0
      ? []
      : [
          `Leftover marks (the same commands remove them): slots ${slotsText(new Set(staleMarks.map(({ slot }) => slot)), 8)}`
        ])
  ].join('\n')
}

/** Which block of a room lies where, and each shard's share. */
export function blocksText(
  room: string,
  blocks: readonly Block[],
  shards: readonly ShardStatus[]
): string {
  if (blocks.length === 0) return `Room ${room} has no messages.`
  const perShard = shards.map(({ master }) => {
    const own = blocks.filter(({ shard }) => shard === master.address)
    const messages = own.reduce((sum, block) => sum + block.messages, 0)
    return { address: master.address, blocks: own.length, messages }
  })
  const total = blocks.reduce((sum, block) => sum + block.messages, 0)
  const share = (messages: number): string => `${((100 * messages) / total).toFixed(1)} %`
  return [
    `Room ${room}: ${counted(total, 'message')} in ${counted(blocks.length, 'block')}`,
    '',
    table(
      ['shard', '>blocks', '>messages', '>share'],
      perShard.map(({ address, blocks, messages }) => [
        address,
        count(blocks),
        count(messages),
        share(messages)
      ])
    ),
    '',
    table(
      ['block', '>slot', '>messages', 'shard'],
      blocks.map(({ key, slot, messages, shard }) => [
        key,
        String(slot),
        count(messages),
        shard ?? 'none'
      ])
    )
  ].join('\n')
}

const LINES_MAX = 20

async function describe(admin: Admin, node: MapNode): Promise<NodeStatus> {
  const { id, reachable, state } = node
  const shown = { id, address: addressKey(reachable), state }
  if (state === 'silent') return { ...shown, keys: null, memoryBytes: null }
  try {
    const [keys, memory] = await admin.askAll(node, [['DBSIZE'], ['INFO', 'memory']])
    return {
      ...shown,
      keys: Number(keys),
      memoryBytes: Number(/^used_memory:(\d+)/m.exec(String(memory))?.[1])
    }
  } catch {
    return { ...shown, keys: null, memoryBytes: null } // it went away while it was asked
  }
}

const figures = ({ keys, memoryBytes }: NodeStatus): string[] => [
  keys === null ? '?' : count(keys),
  memoryBytes === null ? '?' : bytesText(memoryBytes)
]

const spread = ([first, last]: readonly [number, number]): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)
