// Slots left half-moved by an interrupted command, a crash, or a failover during a move. Finds
// them, and determines how each is finished. Changes nothing except leftover marks.
//
// A slot is half-moved if its owner marks it MIGRATING, another master marks it IMPORTING, or
// another master has keys of it. Invariant: it is finished forwards, to that other master, after
// both marks are set, so that clients can reach all keys at once, wherever they are. (Moving them
// back would hide them until the last one has arrived.)
import { type Admin } from './admin.js'
import { countAllKeys } from './keys.js'
import { type ClusterMap, type MapNode, nodeText } from './map.js'
import { moveSlots, type MoveOptions, type MoveResult } from './mover.js'
import { type Move } from './plan.js'
import { Refusal } from './refusal.js'
import { slotsText } from './slots.js'

/** A leftover mark without meaning. */
export type StaleMark = { readonly slot: number; readonly at: string }

export type Unfinished = {
  readonly moves: readonly Move[]
  readonly staleMarks: readonly StaleMark[]
  /** Keys per slot on each living master, by id. */
  readonly keys: ReadonlyMap<string, readonly number[]>
}

const ROUNDS_MAX = 4

/** Looks at the marks and at all key counts of all living masters. */
export async function findUnfinished(admin: Admin, map: ClusterMap): Promise<Unfinished> {
  const masters = map.masters.filter(({ state }) => state === 'up')
  const keys = new Map(
    await Promise.all(
      masters.map(async node => [node.id, await countAllKeys(admin, node, map)] as const)
    )
  )
  return { ...judge(map, masters, keys), keys }
}

/** Pure: determines what marks and keys mean. */
export function judge(
  map: ClusterMap,
  masters: readonly MapNode[],
  keys: ReadonlyMap<string, readonly number[]>
): Pick<Unfinished, 'moves' | 'staleMarks'> {
  const moves: Move[] = []
  const staleMarks: StaleMark[] = []
  for (const slot of suspects(map, masters, keys)) {
    const owner = map.ownerOf(slot)
    const target = targetOf(slot, map, masters, keys)
    if (owner !== undefined && target !== undefined) {
      moves.push({ slot, from: owner, to: target.id })
    }
    for (const node of masters) {
      const isMarked = node.migrating.has(slot) || node.importing.has(slot)
      const isPart = target !== undefined && (node.id === owner || node.id === target.id)
      if (isMarked && !isPart && (node.id === owner || keysAt(keys, node, slot) === 0)) {
        staleMarks.push({ slot, at: node.id })
      }
    }
  }
  return { moves, staleMarks }
}

/**
 * Finishes all half-moved slots. The cluster must be healthy, and nobody else may be changing it.
 * @returns what was moved; complete unless it was interrupted
 * @throws Refusal when a slot is on its way to a node that is down
 */
export async function finishHalfMoved(
  admin: Admin,
  options: MoveOptions = {}
): Promise<MoveResult | undefined> {
  let result: MoveResult | undefined
  // Keys of one slot on three nodes take two rounds.
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const map = await admin.look()
    const unfinished = await findUnfinished(admin, map)
    checkTargets(map, unfinished)
    await clearMarks(admin, map, unfinished.staleMarks)
    if (unfinished.moves.length === 0) break
    result = await moveSlots(admin, unfinished.moves, options)
    if (!result.isComplete) break
  }
  return result
}

/**
 * @throws Refusal when a slot is on its way to a node that is down: keys may be on that node only
 */
export function checkTargets(map: ClusterMap, { moves }: Pick<Unfinished, 'moves'>): void {
  const movable = new Set(moves.map(({ slot }) => slot))
  for (const node of map.masters) {
    for (const [slot, to] of node.migrating) {
      const target = map.nodes.get(to)
      if (
        target === undefined ||
        map.ownerOf(slot) !== node.id ||
        movable.has(slot) ||
        successorOf(map, target) !== undefined
      ) {
        continue
      }
      const slots = [...node.migrating].filter(([, other]) => other === to).map(([slot]) => slot)
      throw new Refusal(
        `Slots ${slotsText(slots, 5)} are half-moved to ${nodeText(target)}, which does not answer and may have some of their keys: start it again. If it is lost for good, remove it, and what it had is lost with it.`
      )
    }
  }
}

async function clearMarks(
  admin: Admin,
  map: ClusterMap,
  marks: readonly StaleMark[]
): Promise<void> {
  for (const { slot, at } of marks) {
    const node = map.nodes.get(at)
    if (node !== undefined) await admin.ask(node, 'CLUSTER', 'SETSLOT', String(slot), 'STABLE')
  }
}

function suspects(
  map: ClusterMap,
  masters: readonly MapNode[],
  keys: ReadonlyMap<string, readonly number[]>
): number[] {
  const found = new Set(
    masters.flatMap(({ migrating, importing }) => [...migrating.keys(), ...importing.keys()])
  )
  for (const [id, counts] of keys) {
    for (const [slot, count] of counts.entries()) {
      if (count > 0 && map.ownerOf(slot) !== id) found.add(slot)
    }
  }
  return [...found].sort((a, b) => a - b)
}

// The owner's mark decides first, then which master has keys (most first), then which expects some.
function targetOf(
  slot: number,
  map: ClusterMap,
  masters: readonly MapNode[],
  keys: ReadonlyMap<string, readonly number[]>
): MapNode | undefined {
  const owner = map.ownerOf(slot)
  const others = masters.filter(({ id }) => id !== owner)
  const marked = map.nodes.get(map.nodes.get(owner ?? '')?.migrating.get(slot) ?? '')
  const successor = marked === undefined ? undefined : successorOf(map, marked)
  if (successor !== undefined && successor.id !== owner) return successor
  const holders = others
    .filter(node => keysAt(keys, node, slot) > 0)
    .sort((a, b) => keysAt(keys, b, slot) - keysAt(keys, a, slot))
  return holders[0] ?? others.find(({ importing }) => importing.has(slot))
}

// The node itself, or the master that it now replicates.
function successorOf(map: ClusterMap, node: MapNode): MapNode | undefined {
  const now = map.masterOf(node.id)
  return now?.state === 'up' ? now : undefined
}

const keysAt = (
  keys: ReadonlyMap<string, readonly number[]>,
  { id }: MapNode,
  slot: number
): number => keys.get(id)?.[slot] ?? 0
