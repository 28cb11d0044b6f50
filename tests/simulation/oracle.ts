// Decides whether what clients see is allowed: it checks the promises at each step and at the end.
// What was answered or published must be on two nodes at that moment (two-nodes.ts). Only what was
// lost with more nodes than promised may be lost, and then readers must be told.
import { disagreementIn } from './agreement.js'
import { ChangesModel } from './changes-model.js'
import { RoomsModel } from './rooms-model.js'
import { copiesOf, DAY_MS, headOf, holderOf, holdersOf, storedLog, streamOf } from './durability.js'
import { parseReference } from '../../src/message/message.js'
import { decodeDeletion, decodePublication, decodeSignal } from '../../src/message/publication.js'
import { frameAt } from '../../src/message/frame.js'
import { slotOf } from '../../src/redis/slots.js'
import { blockKey, logKey, REMOVALS_CHANNEL, roomOf, segmentKey } from '../../src/store/keys.js'
import { parsePersonNews } from '../../src/store/person-news.js'
import { type SimulatedNode } from './node.js'
import { type Post } from './plan.js'
import { TwoNodes } from './two-nodes.js'
import { type World } from './world.js'

type Acknowledged = {
  readonly post: Post
  readonly seq: number
  readonly at: number
  isExcused: boolean
}

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
  readonly twoNodes: TwoNodes
  readonly #world: World
  readonly #posts = new Map<string, Post>()

  constructor(world: World) {
    this.#world = world
    this.changes = new ChangesModel(world)
    this.rooms = new RoomsModel(world)
    this.twoNodes = new TwoNodes(world)
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

  /** A page shows this entry of a log: a replica must have it. Its text may follow. */
  onShown(room: string, seq: number, reference: string): void {
    const { segmentLength } = this.#world.plan.service
    const log = holdersOf(this.#world, room, seq, reference, segmentLength)
    if (this.twoNodes.hasOutlived(room, seq, it => it === reference)) return
    this.twoNodes.check({ log }, room, seq, `a page has ${reference} as ${room} ${seq}`)
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
    this.twoNodes.onPromotion(node, master)
    this.changes.onPromotion(node)
    this.rooms.onPromotion(node, master)
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
      // or a key was moved, while its shard had no replica. What a replica has and its master does
      // not have any more does not count: it is gone when the two are in step again.
      const isAlone = (holders: readonly SimulatedNode[]): boolean => {
        const ids = new Set(holders.map(({ id }) => id))
        const lasting = holders.filter(
          ({ isMaster, view }) => isMaster || ids.has(view.me.masterId ?? '')
        )
        return (
          lasting.length > 0 &&
          !holders.includes(node) &&
          lasting.every(({ id }) => id === node.view.me.masterId)
        )
      }
      if ((isOf(logKey(room)) && !log.includes(node)) || isAlone(log) || isAlone(block)) {
        known.isExcused = true
      }
    }
  }

  /** Checks everything at the end, when all faults are over and the cluster has settled. */
  judge(): void {
    for (const room of this.#world.plan.rooms) {
      this.#judgeRoom(room)
      this.#judgeSegments(room)
    }
    const disagreement = disagreementIn(this.#world)
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

  #checkDurable(room: string, seq: number, text: string, what: string): boolean {
    const world = this.#world
    const copies = copiesOf(world, room, seq, text, world.plan.service.segmentLength)
    const isIt = (reference: string): boolean => {
      if (!reference.includes('/') || reference.includes('~')) return false
      const { tag, id } = parseReference(reference)
      return world.texts.get(`${blockKey(room, tag)}/${id}`) === text
    }
    if (this.twoNodes.hasOutlived(room, seq, isIt)) return false
    return this.twoNodes.check(copies, room, seq, `${text} is ${what} as ${room} ${seq}`)
  }
}
