// What single nodes hold: how many keys in which slot, and how large they are. Asks, changes nothing.
import { SLOT_COUNT } from '../../redis/slots.js'
import { type Admin } from './admin.js'
import { type MapNode } from './map.js'

/** How many keys a node has in each of these slots, whoever owns them. */
export async function countKeys (admin: Admin, node: MapNode, slots: readonly number[]): Promise<number[]> {
  return (await admin.askAll(node, slots.map(slot => ['CLUSTER', 'COUNTKEYSINSLOT', String(slot)]))).map(Number)
}

const ALL_SLOTS = Array.from({ length: SLOT_COUNT }, (_, slot) => slot)

/** The same for every slot; an empty node is asked one question. */
export async function countAllKeys (admin: Admin, node: MapNode): Promise<readonly number[]> {
  if (Number(await admin.ask(node, 'DBSIZE')) === 0) return new Array<number>(SLOT_COUNT).fill(0)
  return await countKeys(admin, node, ALL_SLOTS)
}

/** Up to `count` keys of a slot. */
export async function keysInSlot (admin: Admin, node: MapNode, slot: number, count: number): Promise<string[]> {
  // A list of names, by the command's documentation.
  return await admin.ask(node, 'CLUSTER', 'GETKEYSINSLOT', String(slot), String(count)) as string[]
}

/** Bytes of memory of each key, about; 0 where the node does not say, as of a key that is gone meanwhile. */
export async function sizesOf (admin: Admin, node: MapNode, keys: readonly string[]): Promise<number[]> {
  return await Promise.all(keys.map(key => admin.ask(node, 'MEMORY', 'USAGE', key).then(Number, () => 0)))
}

/** A node's replicas that have all its data and get every write. */
export async function onlineReplicas (admin: Admin, node: MapNode): Promise<number> {
  return [...String(await admin.ask(node, 'INFO', 'replication')).matchAll(/^slave\d+:.*state=online/gm)].length
}
