// Rooms that clients delete, and what nobody may see afterwards. A deletion that was answered is on
// two nodes and covers everything acknowledged before it was asked for. No page that is asked for
// later shows what it covers. When everything is quiet, the deletion has finished, no matter who
// began it: no node has a text of the old life, and what was written since is in blocks of the new
// generation. Like the oracle, this model looks into all nodes at once.
import { blockOf, parseReference, timeOf } from '../../src/message/message.js'
import { parseTag } from '../../src/message/block-tag.js'
import { slotOf } from '../../src/redis/slots.js'
import { type DeletedRoom } from '../../src/store/deletions.js'
import {
  blockKey,
  changedKey,
  deletedKey,
  goneKey,
  logKey,
  parseKey,
  unfinishedKey,
  unfinishedPlace,
  userCountKey
} from '../../src/store/keys.js'
import {
  changedIn,
  DAY_MS,
  generationIn,
  generationOf,
  holderOf,
  type Stored,
  textIn
} from './durability.js'
import { SortedSet } from './keyspace.js'
import { type SimulatedNode } from './node.js'
import { type RoomDeletion } from './plan.js'
import { type Effects } from './replication-link.js'
import { Request } from './request.js'
import { type World } from './world.js'

type Answered = { readonly seq: number; readonly at: number; isExcused: boolean }

/** How many deadlines a deletion may take: it lists, deletes, tells and cleans. */
const DEADLINES = 4
/** CLEANING_MS of src/store/deletions.ts. */
const CLEANING_MS = 5000

export class RoomsModel {
  readonly #world: World
  /** By room: up to which sequences a master has deleted it, also if that was lost since. */
  readonly #applied = new Map<string, Set<number>>()
  /** By room and sequence: what was ever written to the log there. */
  readonly #references = new Map<string, Map<number, Set<string>>>()
  readonly #answered = new Map<string, Answered[]>()
  /** By `<room> <seq>`: when a master first deleted the room up to there. */
  readonly #deletedAt = new Map<string, number>()
  /** Blocks, and changes beside them, that a failover brought back after they had been cleaned. */
  readonly #broughtBack = new Set<string>()
  /** Users whose counter a failover took back by more than a block. */
  readonly #miscounted = new Set<string>()
  /** When each segment was last written. */
  readonly #sealedAt = new Map<string, number>()

  constructor(world: World) {
    this.#world = world
  }

  /** A node has carried out commands. */
  note(effects: Effects): void {
    for (const effect of effects) {
      if ('value' in effect) continue
      const [name, key = '', id = '', field, value = ''] = effect
      if (name === 'XADD' && field === 'r' && key.endsWith(':log')) {
        this.#noteReference(key.slice('room:{'.length, -'}:log'.length), id, value)
      } else if (name === 'SET' && key.endsWith('}:deleted')) {
        const room = key.slice('room:{'.length, -'}:deleted'.length)
        const applied = this.#applied.get(room) ?? new Set()
        const seq = Number.parseInt(id, 10)
        this.#applied.set(room, applied.add(seq))
        const known = this.#deletedAt.get(`${room} ${seq}`)
        if (known === undefined) this.#deletedAt.set(`${room} ${seq}`, this.#world.time.now)
      } else if (name === 'XADD' && key.endsWith('}:segment')) {
        this.#sealedAt.set(key, this.#world.time.now)
      }
    }
  }

  #noteReference(room: string, id: string, reference: string): void {
    const seq = Number(id.slice(id.indexOf('-') + 1))
    const ofRoom = this.#references.get(room) ?? new Map<number, Set<string>>()
    this.#references.set(room, ofRoom)
    ofRoom.set(seq, (ofRoom.get(seq) ?? new Set()).add(reference))
  }

  /** What was ever written to a room's log at this sequence. */
  referencesAt(room: string, seq: number): readonly string[] {
    return [...(this.#references.get(room)?.get(seq) ?? [])]
  }

  /** Whether the entry announces the deletion of this message. */
  isDeletionOf(room: string, seq: number, message: number): boolean {
    return this.referencesAt(room, seq).some(reference => {
      if (!reference.includes('/')) return false
      const { change } = parseReference(reference)
      return change?.seq === message && change.isDeletion
    })
  }

  /**
   * A message is answered. Whoever deletes its room must find its block, so two nodes must have
   * counted its user's messages to the block before it, or further.
   */
  checkCounted(room: string, seq: number, user: string): void {
    if (this.#miscounted.has(user)) return
    const { oracle, nodes, plan } = this.#world
    for (const reference of this.referencesAt(room, seq)) {
      if (!reference.includes('/') || reference.includes('~')) continue
      const { tag, user: author } = parseReference(reference)
      if (author !== user) continue
      const block = parseTag(tag)?.block ?? 0
      const holders = nodes.filter(
        node => this.#countedBlock(node, user, plan.service.blockLength) >= block - 1
      )
      if (holders.length > 1 || oracle.twoNodes.isExcused(holders, userCountKey(user))) continue
      oracle.violation(
        `${room} ${seq} is answered, in block ${block} of ${user}, and ${holders[0]?.name ?? 'no node'} alone has counted so far`
      )
    }
  }

  #countedBlock(node: SimulatedNode, user: string, blockLength: number): number {
    const count = node.db.values.get(userCountKey(user))
    return blockOf(Math.max(1, typeof count === 'string' ? Number(count) : 0), blockLength)
  }

  send({ room, instance, isRepeated }: RoomDeletion): Request {
    const { time, oracle, plan } = this.#world
    const begunAt = time.now
    return new Request(this.#world, {
      name: `deletion of ${room}`,
      instance,
      hasKey: isRepeated,
      finalCodes: new Set(['ROOM_NOT_FOUND']),
      patienceMs: DEADLINES * plan.service.storeDeadlineMs + CLEANING_MS,
      send: async ({ store }) => {
        const deleted = await store.deletions.delete(room)
        this.#onDeleted(room, begunAt, deleted)
        return { status: 200, seq: deleted.seq }
      },
      onAnswer: answer => {
        if (!('code' in answer)) return
        if (answer.code !== 'ROOM_NOT_FOUND') {
          oracle.onRefused({ text: `the deletion of ${room}` }, answer)
        } else if (oracle.upheavals === 0 && this.#acknowledgedIn(room, begunAt).length > 0) {
          oracle.violation(`${room} is not found, and has messages`)
        }
      }
    })
  }

  /** Whether the room was ever deleted on any master. */
  wasDeleted(room: string): boolean {
    return this.#applied.has(room)
  }

  get hasDeleted(): boolean {
    return this.#applied.size > 0
  }

  /** Whether the room was deleted up to exactly this sequence. */
  isGeneration(room: string, seq: number): boolean {
    return this.#applied.get(room)?.has(seq) === true
  }

  /** Whether the entry was written so long ago that the room has it no more. */
  hasExpired(room: string, seq: number): boolean {
    const { time, plan } = this.#world
    const keptMs = (plan.retention?.days ?? Infinity) * DAY_MS
    const references = [...(this.#references.get(room)?.get(seq) ?? [])]
    return references.length > 0 && references.every(one => timeOf(one) < time.wallMs - keptMs)
  }

  /** Whether the sequence may be gone with the room. */
  mayBeGone(room: string, seq: number): boolean {
    return seq <= Math.max(0, ...(this.#applied.get(room) ?? []))
  }

  /** Whether a deletion that covers the sequence was answered before this time. */
  isGone(room: string, seq: number, before: number): boolean {
    return (this.#answered.get(room) ?? []).some(
      answered => !answered.isExcused && answered.at < before && seq <= answered.seq
    )
  }

  /** A deletion is published: it must be durable. */
  onPublished(room: string, seq: number): void {
    this.#checkDurable(room, seq, 'published')
  }

  /** A replica takes over: the deletions that it lacks died with its master. */
  onPromotion(node: SimulatedNode, master: SimulatedNode): void {
    for (const [room, answered] of this.#answered) {
      if (node.view.owners[slotOf(logKey(room))] !== node.view.me.masterId) continue
      for (const deletion of answered) {
        if (generationIn(node, room) < deletion.seq) deletion.isExcused = true
      }
    }
    this.#noteBroughtBack(node, master)
    this.#noteMiscounted(node)
  }

  // Its master went on alone, or another replica had acknowledged the counter.
  #noteMiscounted(node: SimulatedNode): void {
    const { nodes, plan } = this.#world
    const { owners, me } = node.view
    const { blockLength } = plan.service
    for (const user of plan.users) {
      if (owners[slotOf(userCountKey(user))] !== me.masterId) continue
      const counted = Math.max(...nodes.map(other => this.#countedBlock(other, user, blockLength)))
      if (this.#countedBlock(node, user, blockLength) < counted - 1) this.#miscounted.add(user)
    }
  }

  // The cleaning of a room was acknowledged by another replica than the one that takes over, or by
  // none because the shard went on alone.
  #noteBroughtBack(node: SimulatedNode, master: SimulatedNode): void {
    const { owners, me } = node.view
    const replicas = this.#world.nodes.filter(({ view }) => view.me.masterId === master.id)
    const isAlone = this.#world.oracle.twoNodes.saysAlone(master)
    for (const key of node.db.values.keys()) {
      const parsed = parseKey(key)
      if (parsed?.kind !== 'block' && parsed?.kind !== 'changed') continue
      if (owners[slotOf(key)] !== me.masterId) continue
      const { room, generation } = parsed
      if (generation === generationOf(this.#world, room)) continue
      const isAcknowledged = replicas.some(replica => !replica.db.values.has(key))
      if (master.db.values.has(key) || (!isAcknowledged && !isAlone)) continue
      if (holderOf(this.#world, goneKey(room))?.db.values.has(goneKey(room)) === true) continue
      this.#broughtBack.add(key)
    }
  }

  /** Two nodes had a copy of a key, and only one copy was kept. */
  onConflict(): void {
    for (const answered of this.#answered.values()) {
      for (const deletion of answered) deletion.isExcused = true
    }
  }

  /** A deletion that somebody still has to finish; undefined if there is none. */
  get unfinished(): string | undefined {
    const room = this.#world.plan.rooms.find(room => this.#isListed(room))
    return room === undefined ? undefined : `the deletion of ${room} is not finished`
  }

  /** Checks everything at the end, when all faults are over and the cluster has settled. */
  judge(room: string, log: readonly Stored[]): void {
    const { oracle, nodes } = this.#world
    const generation = generationOf(this.#world, room)
    for (const { seq, isExcused } of this.#answered.get(room) ?? []) {
      if (!isExcused && generation < seq) {
        oracle.violation(
          `the deletion of ${room} up to ${seq} was answered, and it is ${generation}`
        )
      }
    }
    if (generation === 0) return
    for (const { seq, reference } of log) {
      if (reference === '') continue
      const other = parseReference(reference).generation
      if (other !== generation) {
        oracle.violation(`${room} ${seq} is of generation ${other}, and the room of ${generation}`)
      }
    }
    if (this.#isUnfinishedFor(room)) return
    this.#checkGone(room, generation, nodes.filter(isInSync))
    for (const node of nodes.filter(isInSync)) {
      for (const key of node.db.values.keys()) {
        const parsed = parseKey(key)
        if (parsed?.kind !== 'segment' || parsed.room !== room) continue
        if (this.isOfDeleted(room, parsed.segment) && !this.mayStay(key, room)) {
          oracle.violation(`${node.name} still has ${key}, and ${room} is deleted to ${generation}`)
        }
      }
    }
  }

  /** Whether all that a segment can have is from before the room's last deletion. */
  isOfDeleted(room: string, segment: number): boolean {
    const { segmentLength } = this.#world.plan.service
    return segment < Math.floor((generationOf(this.#world, room) - 1) / segmentLength)
  }

  /**
   * Whether a segment from before the room's last deletion may still be there. A process that seals
   * while the room is deleted writes a segment that nobody reads, and removes it again, unless it
   * ends or its connection breaks in between. The segment has no texts.
   */
  mayStay(segment: string, room: string): boolean {
    const generation = generationOf(this.#world, room)
    const deletedAt = this.#deletedAt.get(`${room} ${generation}`) ?? Infinity
    return this.#world.oracle.upheavals > 0 || (this.#sealedAt.get(segment) ?? 0) >= deletedAt
  }

  // Nobody finishes a deletion that is not listed. That happens only if its process was held up for
  // longer than its claim, or if the list was lost.
  #isUnfinishedFor(room: string): boolean {
    const { oracle, plan } = this.#world
    if (holderOf(this.#world, goneKey(room))?.db.values.has(goneKey(room)) !== true) return false
    const mayBe =
      oracle.upheavals > 0 ||
      plan.actions.some(({ kind }) => kind === 'pause instance' || kind === 'clock of instance')
    if (!mayBe) oracle.violation(`nobody finishes the deletion of ${room}`)
    return true
  }

  #isListed(room: string): boolean {
    const key = unfinishedKey(unfinishedPlace(room))
    const list = holderOf(this.#world, key)?.db.values.get(key)
    return list instanceof SortedSet && list.scores.has(room)
  }

  #onDeleted(room: string, begunAt: number, { seq, isClean }: DeletedRoom): void {
    const { oracle, time, nodes } = this.#world
    const isExcused = !this.#checkDurable(room, seq, 'answered')
    const answered = this.#answered.get(room) ?? []
    this.#answered.set(room, answered)
    answered.push({ seq, at: time.now, isExcused })
    if (oracle.upheavals > 0) return
    const after = this.#acknowledgedIn(room, begunAt).find(known => known.seq > seq)
    if (after !== undefined) {
      oracle.violation(`${room} is deleted to ${seq}, and ${after.seq} was there before`)
    }
    if (isClean) {
      const owners = nodes.filter(node => node.isMaster)
      this.#checkGone(room, seq, owners)
    }
  }

  #checkGone(room: string, upTo: number, nodes: readonly SimulatedNode[]): void {
    for (const { post, seq, isExcused } of this.#world.oracle.acknowledged.values()) {
      if (post.room !== room || seq > upTo || isExcused) continue
      for (const reference of this.#references.get(room)?.get(seq) ?? []) {
        if (!reference.includes('/')) continue
        const { tag, id, user } = parseReference(reference)
        const key = blockKey(room, tag)
        if (this.#miscounted.has(user)) continue
        if (this.#broughtBack.has(key) || this.#broughtBack.has(changedKey(key))) continue
        for (const node of nodes) {
          const text = textIn(node, key, id) ?? changedIn(node, key, id)?.text
          if (text === undefined) continue
          this.#world.oracle.violation(
            `${node.name} still has ${room} ${seq}, and the room is deleted to ${upTo}: ${text} (${key})`
          )
        }
      }
    }
  }

  #checkDurable(room: string, seq: number, what: string): boolean {
    const { nodes, oracle } = this.#world
    const holders = nodes.filter(node => generationIn(node, room) >= seq)
    if (holders.length > 1) return true
    if (holders.length > 0 && !oracle.twoNodes.isExcused(holders, deletedKey(room))) {
      oracle.violation(
        `the deletion of ${room} up to ${seq} is ${what}, and only at ${holders[0]?.name ?? ''}`
      )
    }
    // A failover may have taken it since it was acknowledged.
    if (holders.length === 0 && oracle.upheavals === 0) {
      oracle.violation(`the deletion of ${room} up to ${seq} is ${what}, and nowhere`)
    }
    return false
  }

  #acknowledgedIn(room: string, before: number): Array<{ readonly seq: number }> {
    return [...this.#world.oracle.acknowledged.values()].filter(
      ({ post, seq, at, isExcused }) =>
        post.room === room && at < before && !isExcused && !this.isGone(room, seq, before)
    )
  }
}

const isInSync = ({ upstream, offset }: SimulatedNode): boolean =>
  upstream === undefined || upstream.master.offset === offset
