// Says whether what clients see may be: the promises of the design, P1 to P5, at each step and at
// the end. What was answered or published is on two nodes, or its shard had no replica to wait for:
// that is looked up in the nodes themselves, at that moment. Only what was lost with more nodes
// than promised may be lost, and then readers are told.
import {
  blockKeyOf,
  copiesOf,
  DECIDED_MS,
  hasLiveReplica,
  headOf,
  storedLog
} from './durability.js'
import { decodePublication, frameAt } from '../../src/message/frame.js'
import { slotOf } from '../../src/redis/slots.js'
import { logKey, REMOVALS_CHANNEL, segmentKey } from '../../src/store/keys.js'
import { parsePersonNews } from '../../src/store/person-news.js'
import { type SimulatedNode } from './node.js'
import { type Post } from './plan.js'
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
  readonly #world: World
  readonly #posts = new Map<string, Post>()

  constructor(world: World) {
    this.#world = world
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

  onAnswered(_post: Post, _seq: number): void {}

  onRefused(
    post: Post,
    { status, code }: { readonly status: number; readonly code: string }
  ): void {
    const { moods } = this.#world
    if (REFUSALS.has(code)) return
    if (code === 'STORE_FULL' && moods.has('full')) return
    if (code === 'STORE_READ_ONLY' && moods.has('misconfigured')) return
    if (code === 'MESSAGE_LOST' && this.upheavals > 0) return
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
    const frames = decodePublication(Buffer.from(payload))
    if (frames === undefined) return this.violation('something is published that is no publication')
    for (let seq = frames.first; seq < frames.first + frames.ends.length; seq++) {
      const data = /^data: (.*)$/m.exec(frameAt(frames, seq).toString())?.[1] ?? '{}'
      const { room = '', text } = JSON.parse(data) as {
        readonly room?: string
        readonly text?: string
      }
      if (text !== undefined) this.#checkDurable(room, seq, text, 'published')
    }
  }

  onSeen(reader: string, room: string, seq: number, text: string): void {
    const post = this.#posts.get(text)
    if (post === undefined || post.room !== room) {
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

  /** Every reader is at the head of each of its rooms. */
  get haveReadAll(): boolean {
    const { plan, readers } = this.#world
    return plan.rooms.every(room => {
      const head = headOf(this.#world, room)
      return readers.every(({ seen }) => (seen.get(room)?.next ?? head + 1) === head + 1)
    })
  }

  /** Everything is healed and has settled. */
  judge(): void {
    for (const room of this.#world.plan.rooms) this.#judgeRoom(room)
  }

  #judgeRoom(room: string): void {
    const log = storedLog(this.#world, room, this.#world.plan.service.segmentLength)
    const seqOf = new Map<string, number>()
    for (const { seq, text, reference } of log) {
      if (reference === '' && this.upheavals === 0) {
        this.violation(`${room} ${seq} has no reference`)
      }
      if (text === undefined) continue
      const known = seqOf.get(text)
      if (known !== undefined) this.violation(`${text} is in ${room} twice, as ${known} and ${seq}`)
      seqOf.set(text, seq)
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
    for (const reader of this.#world.readers) {
      const seen = reader.seen.get(room)
      if (seen?.first === undefined || seen.next === undefined) continue
      for (const [index, text] of seen.texts.entries()) {
        const seq = seen.first + index
        const stored = log[seq - 1]
        // What a reader has may be lost later, with more nodes than promised: that is judged above.
        const mayBeLost = stored !== undefined && stored.text === undefined && this.upheavals > 0
        if (stored === undefined || (text !== undefined && stored.text !== text && !mayBeLost)) {
          this.violation(
            `${reader.name} has ${room} ${seq} as ${text ?? 'lost'}, and the log has ${stored?.text ?? 'nothing'}`
          )
        }
      }
      if (seen.next !== log.length + 1) {
        this.violation(
          `${reader.name} is at ${seen.next - 1} of ${room}, whose head is ${log.length}`
        )
      }
    }
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

  // What somebody moves just now, and what is nowhere else: onPromotion sees to it if the target
  // dies.
  #isInTransit(
    room: string,
    seq: number,
    log: readonly SimulatedNode[],
    block: readonly SimulatedNode[]
  ): boolean {
    const { movers, plan } = this.#world
    const keys = [
      logKey(room),
      segmentKey(room, Math.floor((seq - 1) / plan.service.segmentLength))
    ]
    const [holder] = log
    const blockOfIt = holder === undefined ? undefined : blockKeyOf(holder, keys, room, seq)
    return (
      (log.length > 1 || keys.some(key => movers.isInTransit(key))) &&
      (block.length > 1 || (blockOfIt !== undefined && movers.isInTransit(blockOfIt)))
    )
  }

  /** @returns whether it lasts; where its shard had no replica to wait for it need not */
  #checkDurable(room: string, seq: number, text: string, what: string): boolean {
    const world = this.#world
    const { log, block } = copiesOf(world, room, seq, text, world.plan.service.segmentLength)
    if (log.length > 1 && block.length > 1) return true
    if (this.#isInTransit(room, seq, log, block)) return true
    const excused =
      (log.length > 1 || this.#isAlone(log)) && (block.length > 1 || this.#isAlone(block))
    if (!excused) this.#showLinks([...log, ...block])
    if (!excused) {
      this.violation(
        `${text} is ${what} as ${room} ${seq}, with the log at ${names(log)} and the text at ${names(block)}`
      )
    }
    return false
  }
}

const names = (nodes: readonly SimulatedNode[]): string =>
  nodes.map(({ name, isMaster }) => `${name}${isMaster ? ' (master)' : ''}`).join(', ')
