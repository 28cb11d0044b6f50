// What single nodes hold: how many keys per slot, and how large they are. Only asks, except that it
// may mark slots as importing while it counts.
import { SLOT_COUNT } from '../../redis/slots.js'
import { type Admin } from './admin.js'
import { type ClusterMap, type MapNode } from './map.js'

/** How many keys a node has in each of these slots, whoever owns them. */
export async function countKeys(
  admin: Admin,
  node: MapNode,
  slots: readonly number[]
): Promise<number[]> {
  return (
    await admin.askAll(
      node,
      slots.map(slot => ['CLUSTER', 'COUNTKEYSINSLOT', String(slot)])
    )
  ).map(Number)
}

const ALL_SLOTS = Array.from({ length: SLOT_COUNT }, (_, slot) => slot)

const SLOTS_AT_ONCE = 512
const LOOKS = 3

/**
 * The same for every slot; for an empty node this takes one command. Redis 8.6 does not show keys
 * of slots that a node neither owns nor imports, but its DBSIZE counts them. If there are such
 * keys, the slots are marked as importing while they are counted, and unmarked afterwards.
 */
export async function countAllKeys(
  admin: Admin,
  node: MapNode,
  map: ClusterMap
): Promise<readonly number[]> {
  for (let look = 1; ; look++) {
    const size = Number(await admin.ask(node, 'DBSIZE'))
    if (size === 0) return new Array<number>(SLOT_COUNT).fill(0)
    const counts = await countKeys(admin, node, ALL_SLOTS)
    // The keys were counted after DBSIZE, so there may be more of them; or fewer, if some were
    // deleted in between.
    if (counts.reduce((sum, count) => sum + count, 0) >= size) return counts
    if (look === LOOKS) {
      return (await isTrimming(admin, node)) ? counts : await revealed(admin, node, map, counts)
    }
  }
}

async function revealed(
  admin: Admin,
  node: MapNode,
  map: ClusterMap,
  counts: readonly number[]
): Promise<readonly number[]> {
  const all = [...counts]
  const hidden = ALL_SLOTS.filter(
    slot =>
      all[slot] === 0 &&
      !node.importing.has(slot) &&
      map.ownerOf(slot) !== undefined &&
      map.ownerOf(slot) !== node.id
  )
  for (let from = 0; from < hidden.length; from += SLOTS_AT_ONCE) {
    const slots = hidden.slice(from, from + SLOTS_AT_ONCE)
    try {
      await admin.askAll(
        node,
        slots.map(slot => [
          'CLUSTER',
          'SETSLOT',
          String(slot),
          'IMPORTING',
          map.ownerOf(slot) ?? ''
        ])
      )
      for (const [index, count] of (await countKeys(admin, node, slots)).entries()) {
        all[slots[index] ?? 0] = count
      }
    } finally {
      await admin.askAll(
        node,
        slots.map(slot => ['CLUSTER', 'SETSLOT', String(slot), 'STABLE'])
      )
    }
  }
  return all
}

// After slots were moved atomically, Redis deletes their old keys bit by bit; these no longer
// count.
async function isTrimming(admin: Admin, node: MapNode): Promise<boolean> {
  return /trim_running:[1-9]/.test(String(await admin.ask(node, 'CLUSTER', 'INFO')))
}

/** A key, and the slot that it belongs to. */
export type SlotKey = { readonly slot: number; readonly key: string }

/** Up to `count` keys of each of these slots, slot by slot. */
export async function keysInSlots(
  admin: Admin,
  node: MapNode,
  slots: readonly number[],
  count: number
): Promise<SlotKey[]> {
  const lists = await admin.askAll(
    node,
    slots.map(slot => ['CLUSTER', 'GETKEYSINSLOT', String(slot), String(count)])
  )
  return lists.flatMap((keys, index) =>
    // A list of names, according to the command's documentation.
    (keys as string[]).map(key => ({ slot: slots[index] ?? 0, key }))
  )
}

/**
 * About how many bytes of memory each key takes; 0 if the node does not say, for example for a key
 * that was deleted.
 */
export async function sizesOf(
  admin: Admin,
  node: MapNode,
  keys: readonly string[]
): Promise<number[]> {
  return await Promise.all(
    keys.map(key => admin.ask(node, 'MEMORY', 'USAGE', key).then(Number, () => 0))
  )
}

/** A node's replicas that have all its data and receive every write. */
export async function onlineReplicas(admin: Admin, node: MapNode): Promise<number> {
  return [
    ...String(await admin.ask(node, 'INFO', 'replication')).matchAll(/^slave\d+:.*state=online/gm)
  ].length
}
