// Whether what clients are told is on two nodes, and what excuses it if it is not: its shard has no
// replica to wait for and reports that, its key is on its way to another shard, or a failover has
// taken away what two nodes had. Looks into the nodes themselves, like the oracle.
import { parseReference } from '../../src/message/message.js'
import { slotOf } from '../../src/redis/slots.js'
import { blockKey, changedKey, logKey, parseKey, segmentKey } from '../../src/store/keys.js'
import {
  blockKeyOf,
  changedIn,
  DECIDED_MS,
  hasLiveReplica,
  holderOf,
  streamOf,
  textIn
} from './durability.js'
import { type SimulatedNode } from './node.js'
import { format, Stream } from './streams.js'
import { type World } from './world.js'

/** BACK_MS_MAX of src/redis/replication.ts, and a little more. */
const ALONE_MS = 32_000

export class TwoNodes {
  readonly #world: World
  /**
   * Entries of logs, as `<room> <seq> <reference>`, and texts, as `<block key>/<entry id>`, that a
   * replica lacked when it took over.
   */
  readonly #outlived = new Set<string>()
  /** When a replica last took over from a master. */
  readonly #replacedAt = new Map<SimulatedNode, number>()

  constructor(world: World) {
    this.#world = world
  }

  onPromotion(node: SimulatedNode, master: SimulatedNode): void {
    this.#replacedAt.set(master, this.#world.time.now)
    this.#replacedAt.delete(node)
    this.#noteOutlived(node)
  }

  /**
   * Reports a message that is on one node only, although there was another node to wait for.
   * Without `block` its text is not judged.
   * @param said what a client was told about it
   * @returns whether it is on two nodes. It need not be if its shard had no replica
   */
  check(
    { log, block }: { readonly log: SimulatedNode[]; readonly block?: SimulatedNode[] },
    room: string,
    seq: number,
    said: string
  ): boolean {
    if (log.length > 1 && (block === undefined || block.length > 1)) return true
    // Its room was deleted in between.
    if (this.#world.oracle.rooms.mayBeGone(room, seq)) return false
    // A key that is being moved is on the target alone. If the target dies, Oracle.onPromotion
    // deals with it.
    const { movers, oracle, plan } = this.#world
    const segment = Math.floor((seq - 1) / plan.service.segmentLength)
    const logKeys = [logKey(room), segmentKey(room, segment)]
    const blockOfIt = log[0] === undefined ? undefined : blockKeyOf(log[0], logKeys, room, seq)
    const isLogSafe = log.length > 1 || logKeys.some(key => movers.isInTransit(key))
    const isBlockSafe =
      block === undefined ||
      block.length > 1 ||
      (blockOfIt !== undefined && movers.isInTransit(blockOfIt))
    if (isLogSafe && isBlockSafe) return true
    const excused = (isLogSafe || this.#isAlone(log)) && (isBlockSafe || this.#isAlone(block))
    if (!excused) {
      this.#showLinks([...log, ...(block ?? [])])
      const texts = block === undefined ? '' : ` and the text at ${names(block)}`
      oracle.violation(`${said}, with the log at ${names(log)}${texts}`)
    }
    return false
  }

  /**
   * Whether a failover has taken an entry or its text, and the nodes that own their keys now do not
   * have them.
   * @param isIt whether a reference at this sequence is the one in question
   */
  hasOutlived(room: string, seq: number, isIt: (reference: string) => boolean): boolean {
    const world = this.#world
    const segment = segmentKey(room, Math.floor((seq - 1) / world.plan.service.segmentLength))
    return world.oracle.rooms.referencesAt(room, seq).some(reference => {
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

  // It still calls itself a master, but what it takes alone is lost, and the other masters know. A
  // slot that it got just before it was replaced, and that its replica had not heard of, stays its
  // own.
  #isReplaced(node: SimulatedNode): boolean {
    const { time, nodes } = this.#world
    if (time.now - (this.#replacedAt.get(node) ?? Infinity) <= DECIDED_MS) return false
    return !nodes.some(
      other => other !== node && other.isMaster && other.view.slotCount(node.id) > 0
    )
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

  // Notes what a new master lacks. A process that has an acknowledgement of such an entry, but
  // still waits for another one, may answer later.
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
}

const names = (nodes: readonly SimulatedNode[]): string =>
  nodes.map(({ name, isMaster }) => `${name}${isMaster ? ' (master)' : ''}`).join(', ')
