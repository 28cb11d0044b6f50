// What the nodes really hold, for the oracle. It looks into all of them at once, which nobody in
// the simulated world can do.
import { slotOf } from '../../src/redis/slots.js'
import { parseChanged } from '../../src/store/changed-text.js'
import { blockKey, changedKey, deletedKey, logKey, segmentKey } from '../../src/store/keys.js'
import { type ChangeMark, parseReference } from '../../src/message/message.js'
import { isDeletion } from '../../src/store/log.js'
import { type SimulatedNode } from './node.js'
import { Stream } from './streams.js'
import { type World } from './world.js'

/** An entry of a room's log, and what became of its message. */
export type Stored = {
  readonly seq: number
  /** Empty when that part of the log is lost. */
  readonly reference: string
  readonly user: string
  /** What the message says now. Undefined if it is lost or deleted, and for changes. */
  readonly text: string | undefined
  /** What its author wrote originally. */
  readonly original: string | undefined
  /** The number of its newest change, as stored beside the block; 0 if there is none. */
  readonly changes: number
  readonly isDeleted: boolean
  /** It went with the room's last deletion. */
  readonly isGone: boolean
  /** Set if the entry announces a change. */
  readonly change: ChangeMark | undefined
}

/**
 * The service stops waiting for a replica that is behind for this long, or a little less
 * (src/redis/replication.ts).
 */
const BEHIND_MS = 1500
/**
 * How long a decision of the service about a replica stays valid: a second, and a little more
 * (src/redis/replication.ts).
 */
export const DECIDED_MS = 1200

export const DAY_MS = 86_400_000

/** A room's log as its owners hold it now, including sealed segments, with the texts. */
export function storedLog(world: World, room: string, segmentLength: number): Stored[] {
  const tail = streamOf(holderOf(world, logKey(room)), logKey(room))
  const head = tail?.last[1] ?? 0
  const references = new Map<number, string>()
  for (let segment = 0; segment * segmentLength < head; segment++) {
    const key = segmentKey(room, segment)
    for (const { id, fields } of streamOf(holderOf(world, key), key)?.entries ?? []) {
      references.set(id[1], fields[1] ?? '')
    }
  }
  for (const { id, fields } of tail?.entries ?? []) references.set(id[1], fields[1] ?? '')
  const generation = generationOf(world, room)
  return Array.from({ length: head }, (_, index) =>
    index < generation
      ? { ...NOTHING, seq: index + 1, isGone: true }
      : storedEntry(world, room, index + 1, references.get(index + 1))
  )
}

/** Whether a message has expired: nothing shows it any more. */
export const isExpired = ({ plan, time }: World, ms: number): boolean =>
  plan.retention !== undefined && ms < time.wallMs - plan.retention.days * DAY_MS

/**
 * Whether a sequence counts as expired although its time has not come: a failover has taken things
 * back, and no owner has the entry any more (src/store/horizon-search.ts).
 */
export function countsAsExpired(world: World, room: string, seq: number): boolean {
  const { plan, oracle } = world
  if (plan.retention === undefined || oracle.upheavals === 0 || seq < 1) return false
  const segment = segmentKey(room, Math.floor((seq - 1) / plan.service.segmentLength))
  return [segment, logKey(room)].every(
    key => streamOf(holderOf(world, key), key)?.entries.every(({ id }) => id[1] !== seq) ?? true
  )
}

function storedEntry(
  world: World,
  room: string,
  seq: number,
  reference: string | undefined
): Stored {
  if (reference === undefined) return { ...NOTHING, seq }
  const { tag, user, id, change } = parseReference(reference)
  const key = blockKey(room, tag)
  const original = world.texts.get(`${key}/${id}`)
  if (change !== undefined) return { ...NOTHING, seq, reference, user, change }
  const text = textIn(holderOf(world, key), key, id)
  const changed = changedIn(holderOf(world, changedKey(key)), key, id)
  return {
    seq,
    reference,
    user,
    text: text ?? changed?.text,
    original,
    changes: changed?.n ?? 0,
    isDeleted: text === undefined && changed !== undefined && changed.text === undefined,
    isGone: false,
    change
  }
}

const NOTHING = {
  reference: '',
  user: '',
  text: undefined,
  original: undefined,
  changes: 0,
  isDeleted: false,
  isGone: false,
  change: undefined
} as const

export const headOf = (world: World, room: string): number =>
  streamOf(holderOf(world, logKey(room)), logKey(room))?.last[1] ?? 0

/** The sequence up to which a room was deleted, for all that this node knows; 0 for no deletion. */
export function generationIn(node: SimulatedNode | undefined, room: string): number {
  const text = node?.db.values.get(deletedKey(room))
  return typeof text === 'string' ? Number.parseInt(text, 10) : 0
}

export const generationOf = (world: World, room: string): number =>
  generationIn(holderOf(world, deletedKey(room)), room)

/**
 * The master that has a key: the owner of its slot, or the node that the key has already moved to.
 */
export function holderOf(world: World, key: string): SimulatedNode | undefined {
  const slot = slotOf(key)
  const owner = world.ownerOf(slot)
  if (owner === undefined || owner.db.values.has(key)) return owner
  const target = world.nodes.find(
    node => node.isMaster && node !== owner && node.view.importing.has(slot)
  )
  return target?.db.values.has(key) === true ? target : owner
}

/**
 * The nodes whose log of the room has this message at this sequence, and the nodes that have its
 * text or what it was changed to.
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
    const [, reference = ''] = entry.fields
    if (isDeletion(reference)) return false
    const { tag, id } = parseReference(reference)
    const key = blockKey(room, tag)
    const holders = world.nodes.filter(
      holder => textIn(holder, key, id) === text || changedIn(holder, key, id) !== undefined
    )
    for (const holder of holders) block.add(holder)
    return holders.length > 0
  })
  return { log, block: [...block] }
}

/** The nodes whose log of the room, or a segment of it, has this reference at this sequence. */
export function holdersOf(
  world: World,
  room: string,
  seq: number,
  reference: string,
  segmentLength: number
): SimulatedNode[] {
  const keys = [logKey(room), segmentKey(room, Math.floor((seq - 1) / segmentLength))]
  return world.nodes.filter(node =>
    keys.some(key => streamOf(node, key)?.range([0, seq], [0, seq])[0]?.fields[1] === reference)
  )
}

/** The nodes whose log announces a change, and the nodes that have the change beside the block. */
export function copiesOfChange(
  world: World,
  room: string,
  toldAt: number,
  seq: number,
  segmentLength: number
): { readonly log: SimulatedNode[]; readonly block: SimulatedNode[]; readonly n: number } {
  const keys = [logKey(room), segmentKey(room, Math.floor((toldAt - 1) / segmentLength))]
  let told: ReturnType<typeof parseReference> | undefined
  const log = world.nodes.filter(node => {
    const entry = entryIn(node, keys, toldAt)
    const reference = entry === undefined || isDeletion(entry) ? undefined : parseReference(entry)
    if (reference?.change?.seq !== seq) return false
    told = reference
    return true
  })
  if (told?.change === undefined) return { log, block: [], n: 0 }
  const { tag, id, change } = told
  const key = blockKey(room, tag)
  const block = world.nodes.filter(node => (changedIn(node, key, id)?.n ?? 0) >= change.n)
  return { log, block, n: change.n }
}

const entryIn = (node: SimulatedNode, keys: readonly string[], seq: number): string | undefined =>
  keys.flatMap(key => streamOf(node, key)?.range([0, seq], [0, seq]) ?? [])[0]?.fields[1]

/** The block that a node's log refers to at a sequence. */
export function blockKeyOf(
  node: SimulatedNode,
  logKeys: readonly string[],
  room: string,
  seq: number
): string | undefined {
  const reference = entryIn(node, logKeys, seq)
  return reference === undefined || isDeletion(reference)
    ? undefined
    : blockKey(room, parseReference(reference).tag)
}

/**
 * Whether a shard has a replica that the service must wait for: a replica that runs, is in sync,
 * and is considered failed by nobody.
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

export const streamOf = (node: SimulatedNode | undefined, key: string): Stream | undefined => {
  const value = node?.db.values.get(key)
  return value instanceof Stream ? value : undefined
}

/** What a node has stored beside a block for one of the block's messages. */
export function changedIn(
  node: SimulatedNode | undefined,
  block: string,
  id: string
): ReturnType<typeof parseChanged> {
  const values = node?.db.values.get(changedKey(block))
  return values instanceof Map ? parseChanged(values.get(id) ?? '') : undefined
}

export function textIn(
  node: SimulatedNode | undefined,
  key: string,
  id: string
): string | undefined {
  const [ms = 0, seq = 0] = id.split('-').map(Number)
  const entry = streamOf(node, key)?.range([ms, seq], [ms, seq])[0]
  return entry?.fields[1]
}
