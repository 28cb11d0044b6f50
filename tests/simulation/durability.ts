// What the nodes really hold, for the oracle: it looks into all of them at once, as nobody in the
// world can.
import { slotOf } from '../../src/redis/slots.js'
import { blockKey, logKey, segmentKey } from '../../src/store/keys.js'
import { parseReference } from '../../src/message/message.js'
import { type SimulatedNode } from './node.js'
import { Stream } from './streams.js'
import { type World } from './world.js'

export type Stored = {
  readonly seq: number
  readonly reference: string
  readonly user: string
  readonly text: string | undefined
}

/**
 * A shard goes on without a replica that is behind for so long (src/redis/replication.ts), and a
 * little before.
 */
const BEHIND_MS = 1500
/** What the service has decided about a replica holds for a second (src/redis/replication.ts). */
export const DECIDED_MS = 1200

/** A room's log as its owners hold it now, sealed segments and all, with the texts. */
export function storedLog(world: World, room: string, segmentLength: number): Stored[] {
  const tail = streamOf(world.ownerOf(slotOf(logKey(room))), logKey(room))
  const head = tail?.last[1] ?? 0
  const references = new Map<number, string>()
  for (let segment = 0; segment * segmentLength < head; segment++) {
    const key = segmentKey(room, segment)
    for (const { id, fields } of streamOf(world.ownerOf(slotOf(key)), key)?.entries ?? []) {
      references.set(id[1], fields[1] ?? '')
    }
  }
  for (const { id, fields } of tail?.entries ?? []) references.set(id[1], fields[1] ?? '')
  return Array.from({ length: head }, (_, index) => {
    const seq = index + 1
    const reference = references.get(seq)
    if (reference === undefined) return { seq, reference: '', user: '', text: undefined }
    const { tag, user, id } = parseReference(reference)
    const key = blockKey(room, tag)
    return { seq, reference, user, text: textIn(world.ownerOf(slotOf(key)), key, id) }
  })
}

export const headOf = (world: World, room: string): number =>
  streamOf(world.ownerOf(slotOf(logKey(room))), logKey(room))?.last[1] ?? 0

/**
 * On how many nodes a room's log has this message at this sequence, and on how many its text is.
 */
export function copiesOf(
  world: World,
  room: string,
  seq: number,
  text: string,
  segmentLength: number
): { readonly log: SimulatedNode[]; readonly block: SimulatedNode[] } {
  const segment = segmentKey(room, Math.floor((seq - 1) / segmentLength))
  const block = new Set<SimulatedNode>()
  const log = world.nodes.filter(node => {
    const entry = [logKey(room), segment].flatMap(
      key => streamOf(node, key)?.range([0, seq], [0, seq]) ?? []
    )[0]
    if (entry === undefined) return false
    const { tag, id } = parseReference(entry.fields[1] ?? '')
    const key = blockKey(room, tag)
    const holders = world.nodes.filter(holder => textIn(holder, key, id) === text)
    for (const holder of holders) block.add(holder)
    return holders.length > 0
  })
  return { log, block: [...block] }
}

/** The block that a node's log refers to for a sequence. */
export function blockKeyOf(
  node: SimulatedNode,
  logKeys: readonly string[],
  room: string,
  seq: number
): string | undefined {
  const entry = logKeys.flatMap(key => streamOf(node, key)?.range([0, seq], [0, seq]) ?? [])[0]
  return entry === undefined ? undefined : blockKey(room, parseReference(entry.fields[1] ?? '').tag)
}

/**
 * Whether a shard has a replica that the service must wait for: it runs, is in step, and nobody
 * holds it for failed.
 */
export function hasLiveReplica(world: World, master: SimulatedNode): boolean {
  return [...master.links].some(
    ({ state, heardAt, onlineAt, replica }) =>
      state === 'online' &&
      world.time.now - onlineAt > DECIDED_MS &&
      replica.isRunning &&
      replica.owner.pausedUntil <= world.time.now &&
      world.time.now - heardAt < BEHIND_MS &&
      world.network.passes(master.owner, replica.owner) &&
      world.network.passes(replica.owner, master.owner) &&
      world.nodes.every(node => !node.isRunning || !node.view.peer(replica.id).isFailed)
  )
}

const streamOf = (node: SimulatedNode | undefined, key: string): Stream | undefined => {
  const value = node?.db.values.get(key)
  return value instanceof Stream ? value : undefined
}

function textIn(node: SimulatedNode | undefined, key: string, id: string): string | undefined {
  const [ms = 0, seq = 0] = id.split('-').map(Number)
  const entry = streamOf(node, key)?.range([ms, seq], [ms, seq])[0]
  return entry?.fields[1]
}
