// Decides whether what clients see is allowed: it checks the promises at each step and at the end.
// What was answered or published must be on two nodes, unless its shard had no replica to wait for;
// the oracle looks into the nodes themselves at that moment. Only what was lost with more nodes
// than promised may be lost, and then readers must be told.
import { ChangesModel } from './changes-model.js'
import { RoomsModel } from './rooms-model.js'
import {
  blockKeyOf,
  changedIn,
  copiesOf,
  DAY_MS,
  DECIDED_MS,
  hasLiveReplica,
  headOf,
  holderOf,
  type Stored,
  storedLog,
  streamOf,
  textIn
} from './durability.js'
import { parseReference } from '../../src/message/message.js'
import { decodeDeletion, decodePublication, decodeSignal } from '../../src/message/publication.js'
import { frameAt } from '../../src/message/frame.js'
import { slotOf } from '../../src/redis/slots.js'
import {
  blockKey,
  changedKey,
  logKey,
  parseKey,
  REMOVALS_CHANNEL,
  roomOf,
  segmentKey
} from '../../src/store/keys.js'
import { parsePersonNews } from '../../src/store/person-news.js'
import { type SimulatedNode } from './node.js'
import { type Post } from './plan.js'
import { type RoomReader, type Entry as Seen } from './room-reader.js'
import { format, Stream } from './streams.js'
import { type World } from './world.js'

type Acknowledged = {
  readonly post: Post
  readonly seq: number
  readonly at: number
  isExcused: boolean
}

/** BACK_MS_MAX of src/redis/replication.ts, and a little more. */
const ALONE_MS = 32_000

const READ_MS_MAX = 5_000

const REFUSALS = new Set(['STORE_UNAVAILABLE', 'NOT_REPLICATED', 'OVERLOADED', 'REFUSED', 'GONE'])

export class Oracle {
  /** The first violation. */
  found: string | undefined
  readonly acknowledged = new Map<string, Acknowledged>()
  /** Counts failovers and conflicts: without one, nothing may be lost or rewound. */
  upheavals = 0
  readonly changes: ChangesModel
  readonly rooms: RoomsModel
  readonly #world: World
  readonly #posts = new Map<string, Post>()
  /**
   * Entries of logs, as `<room> <seq> <reference>`, and texts, as `<block key>/<entry id>`, that a
   * replica lacked when it took over.
   */
  readonly #outlived = new Set<string>()
  /** When a replica last took over from a master. */
  readonly #replacedAt = new Map<SimulatedNode, number>()

  constructor(world: World) {
    this.#world = world
    this.changes = new ChangesModel(world)
    this.rooms = new RoomsModel(world)
  }

  violation(text: string): void {
    if (this.found !== undefined) return
    this.found = text
    this.#world.trace.note(`VIOLATION: ${text}`)
  }

  expect(post: Post): void {
    this.#posts.set(post.text, post)
  }

  /** Whether somebody posted this text, unlike the text of a change. */
  isOriginal(text: string): boolean {
    return this.#posts.has(text)
  }

  onCrash(owner: string, error: unknown): void {
    this.violation(
      `${owner} would have crashed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
    )
  }

  /**
   * Background work has failed and will be repeated. That is allowed, but only with an error that
   * the service expects.
   */
  onFault(instance: string, what: string, error: unknown): void {
    const { name, message } = error as Error
    if (
      name !== 'DialogsError' &&
      name !== 'ConnectionLost' &&
      !/^(The log (is gone|ends before its head)|Deleted meanwhile)$/.test(message)
    ) {
      this.violation(`${instance}: ${what} failed: ${String((error as Error).stack)}`)
    }
    this.#world.trace.note(`${instance}: ${what} failed: ${message}`)
  }

  /** The service has decided to answer 2xx. */
  onAcknowledged(post: Post, seq: number): void {
    const isDurable = this.#checkDurable(post.room, seq, post.text, 'answered')
    this.rooms.checkCounted(post.room, seq, post.user)
    const known = this.acknowledged.get(post.text)
    if (known === undefined) {
      this.acknowledged.set(post.text, {
        post,
        seq,
        at: this.#world.time.now,
        isExcused: !isDurable
      })
    } else if (known.seq !== seq && !known.isExcused) {
      this.violation(
        `${post.text} is answered with ${seq}, and was answered with ${known.seq} before`
      )
    } else if (known.seq !== seq) {
      this.acknowledged.set(post.text, {
        post,
        seq,
        at: this.#world.time.now,
        isExcused: !isDurable
      })
    }
  }

  onRefused(
    post: Pick<Post, 'text'>,
    { status, code }: { readonly status: number; readonly code: string }
  ): void {
    const { moods, plan } = this.#world
    const isUnavailable = code === 'STORE_UNAVAILABLE' || code === 'NOT_REPLICATED'
    if (REFUSALS.has(code) && !(plan.isGentle === true && isUnavailable)) return
    if (code === 'STORE_FULL' && moods.has('full')) return
    if (code === 'STORE_READ_ONLY' && moods.has('misconfigured')) return
    if (code === 'MESSAGE_LOST' && this.upheavals > 0) return
    // Lost segments that were the oldest are taken for expired (src/store/horizon-search.ts).
    const mayExpire = this.#world.plan.retention !== undefined && this.upheavals > 0
    if (code === 'MESSAGE_EXPIRED' && mayExpire) return
    if (code === 'MESSAGE_DELETED' && this.changes.wasAskedToDelete) return
    if (/^(MESSAGE|ROOM)_DELETED$/.test(code) && this.rooms.hasDeleted) return
    this.violation(`${post.text} is refused with ${status} ${code}`)
  }

  /** A publication has reached a node: what it shows must be durable. */
  onPublished(channel: string, payload: string): void {
    if (channel === REMOVALS_CHANNEL) return
    if (channel.startsWith('user:')) {
      if (parsePersonNews(Buffer.from(payload)) === undefined) {
        this.violation(`${channel} gets a payload that is not news: ${payload}`)
      }
      return
    }
    const bytes = Buffer.from(payload)
    const frames = decodePublication(bytes)
    if (frames === undefined) {
      const deletion = decodeDeletion(bytes)
      if (deletion !== undefined) {
        this.rooms.onPublished(roomOf(channel) ?? '', deletion.seq)
      } else if (decodeSignal(bytes) === undefined) {
        this.violation('something that is not a publication is published')
      }
      return
    }
    for (let seq = frames.first; seq < frames.first + frames.ends.length; seq++) {
      const data = /^data: (.*)$/m.exec(frameAt(frames, seq).toString())?.[1] ?? '{}'
      const {
        room = '',
        text,
        changes
      } = JSON.parse(data) as {
        readonly room?: string
        readonly text?: string
        readonly changes?: number
      }
      if (changes !== undefined) this.changes.onPublished(room, { seq, changes, text })
      else if (text !== undefined) this.#checkDurable(room, seq, text, 'published')
    }
  }

  onSeen(reader: string, room: string, seq: number, text: string): void {
    const post = this.#posts.get(text)
    if (post?.room !== room && !this.changes.mayBe(room, seq, text)) {
      this.violation(`${reader} gets ${room} ${seq}, which nobody has written: ${text}`)
    }
  }

  onLost(reader: string, room: string, seq: number): void {
    if (this.upheavals > 0 && this.rooms.mayBeGone(room, seq)) return
    const lost = [...this.acknowledged.values()].find(
      ({ post, seq: at }) => post.room === room && at === seq
    )
    if (this.upheavals === 0) {
      this.violation(`${reader} is told that ${room} ${seq} is lost, although nothing was`)
    }
    // What the reader gets now may have been read before the writer put the text back.
    if (lost !== undefined && !lost.isExcused && this.#world.time.now - lost.at > READ_MS_MAX) {
      this.violation(
        `${reader} is told that ${lost.post.text} is lost, ${room} ${seq}, which was acknowledged`
      )
    }
  }

  onReset(reader: string, room: string, reason: string): void {
    const isDeleted = reason === 'deleted' && this.rooms.wasDeleted(room)
    // Rooms keep messages for a day at least, so nothing expires before time leaps.
    const isTrimmed =
      reason === 'trimmed' && this.#world.time.now > this.#world.plan.calmAt + DAY_MS
    if (this.upheavals === 0 && !isDeleted && !isTrimmed) {
      this.violation(`${reader} is reset in ${room} (${reason}), although nothing was lost`)
    }
  }

  /** A replica takes over: what it lacks died with its master, or with more nodes than promised. */
  onPromotion(node: SimulatedNode, master: SimulatedNode): void {
    this.upheavals++
    this.#replacedAt.set(master, this.#world.time.now)
    this.#replacedAt.delete(node)
    this.changes.onPromotion(node)
    this.rooms.onPromotion(node, master)
    this.#noteOutlived(node)
    for (const known of this.acknowledged.values()) {
      if (known.isExcused) continue
      const { room } = known.post
      const { log, block } = copiesOf(
        this.#world,
        room,
        known.seq,
        known.post.text,
        this.#world.plan.service.segmentLength
      )
      const isOf = (key: string): boolean => node.view.owners[slotOf(key)] === node.view.me.masterId
      // It was allowed to be on the master alone, and that was checked then: a segment was sealed,
      // or a key was moved, while its shard had no replica.
      const isAlone = (holders: readonly SimulatedNode[]): boolean =>
        holders.length > 0 &&
        !holders.includes(node) &&
        holders.every(holder => holder.id === node.view.me.masterId)
      if ((isOf(logKey(room)) && !log.includes(node)) || isAlone(log) || isAlone(block)) {
        known.isExcused = true
      }
    }
  }

  // A process that has an acknowledgement of such an entry, but still waits for another one, may
  // answer later.
  #noteOutlived(node: SimulatedNode): void {
    const { owners, me } = node.view
    for (const other of this.#world.nodes) {
      for (const [key, value] of other.db.values) {
        if (!(value instanceof Stream) || owners[slotOf(key)] !== me.masterId) continue
        const taken = streamOf(node, key)
        for (const { id, fields } of value.entries) {
          if (taken?.range(id, id).length === 1) continue
          const [field, value = ''] = fields
          const parsed = parseKey(key)
          if (field === 't') this.#outlived.add(`${key}/${format(id)}`)
          else if (parsed?.kind === 'log' || parsed?.kind === 'segment') {
            this.#outlived.add(`${parsed.room} ${id[1]} ${value}`)
          }
        }
      }
    }
  }

  /**
   * A difference between what readers have and what the log has; undefined if they agree. They may
   * disagree for a while: readers learn that a log was rewound when their process next looks at it.
   */
  get disagreement(): string | undefined {
    const { plan, readers } = this.#world
    for (const room of plan.rooms) {
      const here = readers.filter(({ seen }) => seen.has(room))
      const head = headOf(this.#world, room)
      const behind = here.find(({ seen }) => (seen.get(room)?.next ?? head + 1) !== head + 1)
      if (behind !== undefined) {
        return `${behind.name} is at ${(behind.seen.get(room)?.next ?? 0) - 1} of ${room}, whose head is ${head}`
      }
      if (here.length === 0) continue
      const log = storedLog(this.#world, room, plan.service.segmentLength)
      for (const reader of here) {
        const found = this.#disagreementOf(reader, room, log)
        if (found !== undefined) return found
      }
    }
    return undefined
  }

  /** Checks everything at the end, when all faults are over and the cluster has settled. */
  judge(): void {
    for (const room of this.#world.plan.rooms) {
      this.#judgeRoom(room)
      this.#judgeSegments(room)
    }
    const { disagreement } = this
    if (disagreement !== undefined) this.violation(disagreement)
  }

  #judgeRoom(room: string): void {
    const log = storedLog(this.#world, room, this.#world.plan.service.segmentLength)
    const seqOf = new Map<string, number>()
    const references = new Map<string, number>()
    for (const { seq, text, original, reference, isDeleted, isGone, change } of log) {
      if (isGone) continue
      if (reference === '') {
        if (this.upheavals === 0) this.violation(`${room} ${seq} has no reference`)
        continue
      }
      const before = references.get(reference)
      // A second deletion may be announced: its sender cannot know that the first one is about to
      // be.
      if (before !== undefined && change?.isDeletion !== true) {
        this.violation(`${room} has ${reference} twice, as ${before} and ${seq}`)
      }
      references.set(reference, seq)
      if (original === undefined || (text === undefined && !isDeleted)) continue
      const known = seqOf.get(original)
      if (known !== undefined) {
        this.violation(`${original} is in ${room} twice, as ${known} and ${seq}`)
      }
      seqOf.set(original, seq)
    }
    for (const { post, seq, isExcused } of this.acknowledged.values()) {
      if (post.room !== room || isExcused || this.rooms.mayBeGone(room, seq)) continue
      const at = seqOf.get(post.text)
      if (at !== seq) {
        this.violation(
          `${post.text} was acknowledged as ${room} ${seq}, and is ${at === undefined ? 'nowhere' : `at ${at}`}`
        )
      }
    }
    this.changes.judge(room, log)
    this.rooms.judge(room, log)
  }

  // A segment has its own entries and no others. Otherwise the next one cannot be sealed, and the
  // log's key grows with the number of messages.
  #judgeSegments(room: string): void {
    const { segmentLength } = this.#world.plan.service
    for (let segment = 0; segment * segmentLength < headOf(this.#world, room); segment++) {
      const key = segmentKey(room, segment)
      for (const { id } of streamOf(holderOf(this.#world, key), key)?.entries ?? []) {
        if (Math.floor((id[1] - 1) / segmentLength) === segment) continue
        this.violation(`segment ${segment} of ${room} has the entry ${id[1]}`)
      }
    }
  }

  #disagreementOf(reader: RoomReader, room: string, log: readonly Stored[]): string | undefined {
    const seen = reader.seen.get(room)
    if (seen?.first === undefined) return undefined
    const { first } = seen
    for (const [index, has] of seen.entries.entries()) {
      const seq = first + index
      const stored = log[seq - 1]
      const said = (there: string): string =>
        `${reader.name} has ${room} ${seq} as ${textOf(has)}, and the log has ${there}`
      if (stored === undefined) return said('nothing')
      if (stored.isGone) return said('been deleted with it')
      // The reader was told that the message was lost, and it may have been put back since.
      if (has.kind === 'lost') continue
      if (stored.change !== undefined) {
        if (has.kind !== 'change' || has.changes !== stored.change.seq) {
          return said(`a change of ${stored.change.seq}`)
        }
        continue
      }
      const isLost = stored.text === undefined && !stored.isDeleted
      // A message that a reader has may be lost later, with more nodes than promised. Acknowledged
      // messages are checked elsewhere.
      if (isLost && this.upheavals > 0) continue
      if (this.changes.isExcused(room, stored)) continue
      if (has.kind === 'change') return said(stored.text ?? 'a deletion')
      const isTold =
        stored.changes === 0 ||
        log.some(({ change }) => change?.seq === seq && change.n === stored.changes)
      const now = seen.now.get(seq)
      if (isTold ? now !== stored.text : now !== stored.original && now !== stored.text) {
        // If several changes were applied and only some were announced, the reader may show any of
        // them.
        if (!isTold && now !== undefined && this.changes.mayBe(room, seq, now)) continue
        return `${said(stored.text ?? (isLost ? 'lost' : 'a deletion'))}; what it was told says ${now ?? 'a deletion'}`
      }
    }
    return undefined
  }

  /**
   * Whether a key need not be on a second node, because there is none to wait for or because the
   * key is moving.
   */
  isExcused(holders: readonly SimulatedNode[], key: string): boolean {
    return this.#isAlone(holders) || this.#world.movers.isInTransit(key)
  }

  #isAlone(holders: readonly SimulatedNode[]): boolean {
    return holders.some(
      holder =>
        holder.isMaster &&
        !this.#isReplaced(holder) &&
        (!hasLiveReplica(this.#world, holder) || this.saysAlone(holder))
    )
  }

  // It still calls itself a master, but what it takes alone is lost, and the other masters know.
  #isReplaced(node: SimulatedNode): boolean {
    return this.#world.time.now - (this.#replacedAt.get(node) ?? Infinity) > DECIDED_MS
  }

  /**
   * Whether a shard went on without a replica and reported it. It then goes on alone for a while
   * longer when its replica is back but lags behind.
   */
  saysAlone(node: SimulatedNode): boolean {
    const { degraded, degradedUntil, aloneAt, time } = this.#world
    const key = `${node.host}:${node.port}`
    const hasSaid =
      (degraded.get(key)?.size ?? 0) > 0 ||
      time.now - (degradedUntil.get(key) ?? -Infinity) < DECIDED_MS
    return hasSaid && time.now - (aloneAt.get(node) ?? -Infinity) < ALONE_MS
  }

  #showLinks(holders: readonly SimulatedNode[]): void {
    const { time, trace } = this.#world
    for (const holder of holders) {
      for (const link of holder.isMaster ? holder.links : []) {
        trace.note(
          `${holder.name} at ${holder.offset}: ${link.replica.name} is ${link.state} since ${link.onlineAt.toFixed(0)}, has acknowledged ${link.acknowledged}, was heard ${Math.round(time.now - link.heardAt)} ms ago`
        )
      }
    }
  }

  #checkDurable(room: string, seq: number, text: string, what: string): boolean {
    const world = this.#world
    const copies = copiesOf(world, room, seq, text, world.plan.service.segmentLength)
    const isIt = (reference: string): boolean => {
      if (!reference.includes('/') || reference.includes('~')) return false
      const { tag, id } = parseReference(reference)
      return world.texts.get(`${blockKey(room, tag)}/${id}`) === text
    }
    if (this.hasOutlived(room, seq, isIt)) return false
    return this.isDurable(copies, room, seq, `${text} is ${what} as ${room} ${seq}`)
  }

  /**
   * Whether a failover has taken an entry or its text, and the nodes that own their keys now do not
   * have them.
   * @param isIt whether a reference at this sequence is the one in question
   */
  hasOutlived(room: string, seq: number, isIt: (reference: string) => boolean): boolean {
    const world = this.#world
    const segment = segmentKey(room, Math.floor((seq - 1) / world.plan.service.segmentLength))
    return this.rooms.referencesAt(room, seq).some(reference => {
      if (!isIt(reference)) return false
      if (this.#outlived.has(`${room} ${seq} ${reference}`)) {
        const isThere = [logKey(room), segment].some(key =>
          streamOf(holderOf(world, key), key)
            ?.range([0, seq], [0, seq])
            .some(({ fields }) => fields[1] === reference)
        )
        if (!isThere) return true
      }
      const { tag, id } = parseReference(reference)
      const key = blockKey(room, tag)
      if (!this.#outlived.has(`${key}/${id}`)) return false
      const isChanged = changedIn(holderOf(world, changedKey(key)), key, id) !== undefined
      return !isChanged && textIn(holderOf(world, key), key, id) === undefined
    })
  }

  /**
   * Reports a message that is on one node only, although there was another node to wait for.
   * @param said what a client was told about it
   * @returns whether it is on two nodes. It need not be if its shard had no replica
   */
  isDurable(
    { log, block }: { readonly log: SimulatedNode[]; readonly block: SimulatedNode[] },
    room: string,
    seq: number,
    said: string
  ): boolean {
    if (log.length > 1 && block.length > 1) return true
    // Its room was deleted in between.
    if (this.rooms.mayBeGone(room, seq)) return false
    // A key that is being moved is on the target alone. If the target dies, onPromotion deals with
    // it.
    const { movers, plan } = this.#world
    const segment = Math.floor((seq - 1) / plan.service.segmentLength)
    const logKeys = [logKey(room), segmentKey(room, segment)]
    const blockOfIt = log[0] === undefined ? undefined : blockKeyOf(log[0], logKeys, room, seq)
    const isLogSafe = log.length > 1 || logKeys.some(key => movers.isInTransit(key))
    const isBlockSafe =
      block.length > 1 || (blockOfIt !== undefined && movers.isInTransit(blockOfIt))
    if (isLogSafe && isBlockSafe) return true
    const excused = (isLogSafe || this.#isAlone(log)) && (isBlockSafe || this.#isAlone(block))
    if (!excused) {
      this.#showLinks([...log, ...block])
      this.violation(`${said}, with the log at ${names(log)} and the text at ${names(block)}`)
    }
    return false
  }
}

const names = (nodes: readonly SimulatedNode[]): string =>
  nodes.map(({ name, isMaster }) => `${name}${isMaster ? ' (master)' : ''}`).join(', ')

const textOf = (entry: Seen): string =>
  entry.kind === 'message'
    ? entry.text
    : entry.kind === 'change'
      ? `a change of ${entry.changes}`
      : entry.kind
