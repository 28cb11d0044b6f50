// Says whether what clients see may be: the promises of the design, P1 to P5, at each step and at
// the end. What was answered or published is on two nodes, or its shard had no replica to wait for:
// that is looked up in the nodes themselves, at that moment. Only what was lost with more nodes
// than promised may be lost, and then readers are told.
import { ChangesModel } from './changes-model.js'
import {
  blockKeyOf,
  copiesOf,
  DECIDED_MS,
  hasLiveReplica,
  headOf,
  type Stored,
  storedLog,
  streamOf
} from './durability.js'
import { decodePublication, decodeSignal, frameAt } from '../../src/message/frame.js'
import { slotOf } from '../../src/redis/slots.js'
import { logKey, parseKey, REMOVALS_CHANNEL, segmentKey } from '../../src/store/keys.js'
import { parsePersonNews } from '../../src/store/person-news.js'
import { type SimulatedNode } from './node.js'
import { type Post } from './plan.js'
import { type RoomReader, type Entry as Seen } from './room-reader.js'
import { Stream } from './streams.js'
import { type World } from './world.js'

export class Violation extends Error {}

type Acknowledged = {
  readonly post: Post
  readonly seq: number
  readonly at: number
  isExcused: boolean
}

/** src/redis/replication.ts: BACK_MS_MAX, and a little. */
const ALONE_MS = 32_000

const READ_MS_MAX = 5_000

const REFUSALS = new Set(['STORE_UNAVAILABLE', 'NOT_REPLICATED', 'OVERLOADED', 'REFUSED', 'GONE'])

export class Oracle {
  /** The first thing that must not be. */
  found: string | undefined
  readonly acknowledged = new Map<string, Acknowledged>()
  /** Failovers and conflicts: without one, nothing may be lost or rewound. */
  upheavals = 0
  readonly changes: ChangesModel
  readonly #world: World
  readonly #posts = new Map<string, Post>()
  /** `<room> <seq>` of entries, and texts, that a replica lacked when it took over. */
  readonly #outlived = new Set<string>()

  constructor(world: World) {
    this.#world = world
    this.changes = new ChangesModel(world)
  }

  violation(text: string): void {
    if (this.found !== undefined) return
    this.found = text
    this.#world.trace.note(`VIOLATION: ${text}`)
  }

  expect(post: Post): void {
    this.#posts.set(post.text, post)
  }

  onCrash(owner: string, error: unknown): void {
    this.violation(
      `${owner} would have crashed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
    )
  }

  /**
   * Work in the background has failed and will be done again: allowed, but nothing that nobody
   * foresaw.
   */
  onFault(instance: string, what: string, error: unknown): void {
    const { name, message } = error as Error
    if (
      name !== 'DialogsError' &&
      name !== 'ConnectionLost' &&
      !/^The log (is gone|ends before its head)$/.test(message)
    ) {
      this.violation(`${instance}: ${what} failed: ${String((error as Error).stack)}`)
    }
    this.#world.trace.note(`${instance}: ${what} failed: ${message}`)
  }

  /** The service has decided to answer 2xx. */
  onAcknowledged(post: Post, seq: number): void {
    const isDurable = this.#checkDurable(post.room, seq, post.text, 'answered')
    const known = this.acknowledged.get(post.text)
    if (known === undefined) {
      this.acknowledged.set(post.text, {
        post,
        seq,
        at: this.#world.time.now,
        isExcused: !isDurable
      })
    } else if (known.seq !== seq && !known.isExcused) {
      this.violation(`${post.text} is answered with ${seq}, and was with ${known.seq}`)
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
    const { moods } = this.#world
    if (REFUSALS.has(code)) return
    if (code === 'STORE_FULL' && moods.has('full')) return
    if (code === 'STORE_READ_ONLY' && moods.has('misconfigured')) return
    if (code === 'MESSAGE_LOST' && this.upheavals > 0) return
    if (code === 'MESSAGE_DELETED' && this.changes.wasAskedToDelete) return
    this.violation(`${post.text} is refused with ${status} ${code}`)
  }

  /** A publication has reached a node: what it shows must last. */
  onPublished(channel: string, payload: string): void {
    if (channel === REMOVALS_CHANNEL) return
    if (channel.startsWith('user:')) {
      if (parsePersonNews(Buffer.from(payload)) === undefined) {
        this.violation(`${channel} gets what is no news: ${payload}`)
      }
      return
    }
    const bytes = Buffer.from(payload)
    const frames = decodePublication(bytes)
    if (frames === undefined) {
      if (decodeSignal(bytes) === undefined) {
        this.violation('something is published that is no publication')
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
    const lost = [...this.acknowledged.values()].find(
      ({ post, seq: at }) => post.room === room && at === seq
    )
    if (this.upheavals === 0) {
      this.violation(`${reader} is told that ${room} ${seq} is lost, and nothing was`)
    }
    // What the reader gets now may have been read before its writer put the text back.
    if (lost !== undefined && !lost.isExcused && this.#world.time.now - lost.at > READ_MS_MAX) {
      this.violation(
        `${reader} is told that ${lost.post.text} is lost, ${room} ${seq}, which was acknowledged`
      )
    }
  }

  onReset(reader: string, room: string, reason: string): void {
    if (this.upheavals === 0) {
      this.violation(`${reader} is reset in ${room} (${reason}), and nothing was lost`)
    }
  }

  /**
   * A replica takes over: what it lacks has died with its master, or with more nodes than promised.
   */
  onPromotion(node: SimulatedNode): void {
    this.upheavals++
    this.changes.onPromotion(node)
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
      // That it was on the master alone was judged before: a segment that was sealed, or a key that
      // was moved, while its shard had no replica.
      const isAlone = (holders: readonly SimulatedNode[]): boolean =>
        holders.length > 0 &&
        !holders.includes(node) &&
        holders.every(holder => holder.id === node.view.me.masterId)
      if ((isOf(logKey(room)) && !log.includes(node)) || isAlone(log) || isAlone(block)) {
        known.isExcused = true
      }
    }
  }

  // Whoever has an acknowledgement of such an entry, and waits for another one, answers later.
  #noteOutlived(node: SimulatedNode): void {
    const { owners, me } = node.view
    for (const other of this.#world.nodes) {
      for (const [key, value] of other.db.values) {
        if (!(value instanceof Stream) || owners[slotOf(key)] !== me.masterId) continue
        const taken = streamOf(node, key)
        for (const { id, fields } of value.entries) {
          if (taken?.range(id, id).length === 1) continue
          const [field, text = ''] = fields
          const parsed = field === 'r' ? parseKey(key) : undefined
          this.#outlived.add(parsed?.kind === 'log' ? `${parsed.room} ${id[1]}` : text)
        }
      }
    }
  }

  /**
   * What still differs between what readers have and what the log has; undefined when they agree.
   * Readers are told of a log that was rewound when their process next looks at it, so they may
   * disagree for a while.
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

  /** Everything is healed and has settled. */
  judge(): void {
    for (const room of this.#world.plan.rooms) this.#judgeRoom(room)
    const { disagreement } = this
    if (disagreement !== undefined) this.violation(disagreement)
  }

  #judgeRoom(room: string): void {
    const log = storedLog(this.#world, room, this.#world.plan.service.segmentLength)
    const seqOf = new Map<string, number>()
    const references = new Map<string, number>()
    for (const { seq, text, original, reference, isDeleted, change } of log) {
      if (reference === '') {
        if (this.upheavals === 0) this.violation(`${room} ${seq} has no reference`)
        continue
      }
      const before = references.get(reference)
      // Who deletes what is deleted cannot know that it is about to be told.
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
      if (post.room !== room || isExcused) continue
      const at = seqOf.get(post.text)
      if (at !== seq) {
        this.violation(
          `${post.text} was acknowledged as ${room} ${seq}, and is ${at === undefined ? 'nowhere' : `at ${at}`}`
        )
      }
    }
    this.changes.judge(room, log)
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
      // It was told so once, and that may come back.
      if (has.kind === 'lost') continue
      if (stored.change !== undefined) {
        if (has.kind !== 'change' || has.changes !== stored.change.seq) {
          return said(`a change of ${stored.change.seq}`)
        }
        continue
      }
      const isLost = stored.text === undefined && !stored.isDeleted
      // What a reader has may be lost later, with more nodes than promised: the acknowledged ones
      // are looked up elsewhere.
      if (isLost && this.upheavals > 0) continue
      if (this.changes.isExcused(room, stored)) continue
      if (has.kind === 'change') return said(stored.text ?? 'a deletion')
      const isTold =
        stored.changes === 0 ||
        log.some(({ change }) => change?.seq === seq && change.n === stored.changes)
      const now = seen.now.get(seq)
      if (isTold ? now !== stored.text : now !== stored.original && now !== stored.text) {
        // What was changed several times, and told in part, may say any of it.
        if (!isTold && now !== undefined && this.changes.mayBe(room, seq, now)) continue
        return `${said(stored.text ?? (isLost ? 'lost' : 'a deletion'))}; what it was told says ${now ?? 'a deletion'}`
      }
    }
    return undefined
  }

  /** Whether a key need not be on a second node: there is none to wait for, or it is moving. */
  isExcused(holders: readonly SimulatedNode[], key: string): boolean {
    return this.#isAlone(holders) || this.#world.movers.isInTransit(key)
  }

  #isAlone(holders: readonly SimulatedNode[]): boolean {
    return holders.some(
      holder => holder.isMaster && (!hasLiveReplica(this.#world, holder) || this.#saysAlone(holder))
    )
  }

  // A shard that went on without a replica, and was reported, goes on for a while when its replica
  // is back and lags.
  #saysAlone(node: SimulatedNode): boolean {
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
    if (copies.block.length === 0 && this.#outlived.has(text)) return false
    return this.isDurable(copies, room, seq, `${text} is ${what} as ${room} ${seq}`)
  }

  /**
   * Reports what is on one node only, although there was another one to wait for.
   * @param said what somebody was told of it
   * @returns whether it is on two nodes; where its shard had no replica it need not be
   */
  isDurable(
    { log, block }: { readonly log: SimulatedNode[]; readonly block: SimulatedNode[] },
    room: string,
    seq: number,
    said: string
  ): boolean {
    if (log.length > 1 && block.length > 1) return true
    if (log.length === 0 && this.#outlived.has(`${room} ${seq}`)) return false
    // What somebody moves just now is nowhere else: onPromotion sees to it if the target dies.
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
