// Tells a node who owns the slots that it imports.
//
// A node learns of new owners from the messages of the others, except for slots that it marks
// IMPORTING. So when the source of a move dies and its replica takes over, the target still names
// the dead master, and nobody once that one is back as a replica. Then it refuses the keys of these
// slots for ever (`CLUSTERDOWN Hash slot not served`), and the nodes never agree.
import { type Admin } from './admin.js'
import { type ClusterMap, type MapNode } from './map.js'

/** Tells every living master. @returns whether there was one to be told */
export async function remindAll(admin: Admin, map: ClusterMap): Promise<boolean> {
  const living = map.masters.filter(({ state }) => state === 'up')
  const told = await Promise.all(
    living.map(node => remind(admin, map, node, [...node.importing.keys()]))
  )
  return told.includes(true)
}

/**
 * Tells one node the owners of those of these slots for which it names another one, or none. Its
 * marks stay.
 * @returns whether there were any
 */
export async function remind(
  admin: Admin,
  map: ClusterMap,
  node: MapNode,
  slots: readonly number[]
): Promise<boolean> {
  const toTell = forgotten(map, node, slots)
  await admin.askAll(
    node,
    toTell.map(slot => ['CLUSTER', 'SETSLOT', String(slot), 'NODE', map.ownerOf(slot) ?? ''])
  )
  return toTell.length > 0
}

// Not what it considers its own: then the others must convince it.
function forgotten(map: ClusterMap, { id }: MapNode, slots: readonly number[]): number[] {
  const mistakes = map.mistakesOf(id)
  return slots.filter(slot => {
    const owner = map.ownerOf(slot)
    return (
      mistakes.has(slot) &&
      mistakes.get(slot) !== id &&
      owner !== id &&
      map.nodes.get(owner ?? '')?.role === 'master'
    )
  })
}
