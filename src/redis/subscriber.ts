// The only subscriber of the process: sharded pub/sub over at most one connection per shard, for
// all channels. Invariant: every channel is subscribed, or being subscribed, at the node that owns
// its slot. Whenever a subscription begins, its listener is told, because earlier messages may have
// been missed. This does not know what messages mean, and stores none.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cluster } from './cluster.js'
import { addressOf } from './address.js'
import { type ConnectionOptions } from './connection.js'
import { slotOf } from './slots.js'
import { PubSubConnection } from './pubsub-connection.js'
import { isForGood, nextStep } from './redirect.js'
import { backoffMs } from '../backoff.js'

export type ChannelListener = {
  onMessage: (payload: Buffer) => void
  /**
   * Everything published from now on will arrive; earlier messages may have been missed.
   * @param isSettled false if slots or connections changed a moment ago: a publisher that has not
   * noticed this yet may still publish to a node where nobody is subscribed any more
   */
  onSubscribed: (isSettled: boolean) => void
  /** Nothing has arrived for LOST_MS, because the channel is subscribed nowhere. Told once. */
  onLost?: () => void
}

type Channel = {
  readonly name: string
  readonly slot: number
  readonly listener: ChannelListener
  /** The node at which it is subscribed or being subscribed; undefined if there is none. */
  node: string | undefined
  /** Since when it has been subscribed nowhere; undefined while it is. */
  lostAt: number | undefined
  isToldLost: boolean
}

export type SubscriberEvents = {
  lost: (why: 'connection' | 'moved' | 'refused') => void
}

/** Within this time every publisher knows the new owner: it looks every TOPOLOGY_REFRESH_MS. */
const SETTLE_MS = 10_000
/** A failover is over by then. */
const LOST_MS = 5000
const LOST_CHECK_MS = 1000
const RETRY_MS = 50
const RETRY_MS_MAX = 500
/** Permissions are not restored within a second. */
const REFUSED_RETRY_MS = 2000

export class Subscriber {
  readonly #cluster: Cluster
  readonly #options: ConnectionOptions
  readonly #events: SubscriberEvents
  readonly #channels = new Map<string, Channel>()
  readonly #connections = new Map<string, PubSubConnection>()
  readonly #checkingLost: NodeJS.Timeout
  #isPlacing = false
  #placedAt = -Infinity
  /** When a channel last lost the node at which it was subscribed. */
  #lostAt = -Infinity
  /** Attempts since a subscription was last confirmed. */
  #tries = 0
  #isRefusedForGood = false
  #isClosed = false

  constructor(cluster: Cluster, options: ConnectionOptions, events: SubscriberEvents) {
    this.#cluster = cluster
    this.#options = options
    this.#events = events
    cluster.onChange(() => {
      this.#placeAll()
    })
    this.#checkingLost = setInterval(() => {
      this.#tellLost()
    }, LOST_CHECK_MS).unref()
  }

  /** Open connections: at most one per shard. */
  get connectionCount(): number {
    return this.#connections.size
  }

  subscribe(name: string, listener: ChannelListener): void {
    if (this.#channels.has(name)) throw new Error(`Channel ${name} has a listener already`)
    const channel: Channel = {
      name,
      slot: slotOf(name),
      listener,
      node: undefined,
      lostAt: performance.now(),
      isToldLost: false
    }
    this.#channels.set(name, channel)
    this.#place(channel)
  }

  unsubscribe(name: string): void {
    const channel = this.#channels.get(name)
    if (channel?.node !== undefined) this.#connections.get(channel.node)?.unsubscribe(name)
    this.#channels.delete(name)
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#checkingLost)
    this.#channels.clear()
    for (const connection of this.#connections.values()) connection.close()
  }

  // Subscribes at the slot's owner and unsubscribes at the previous one. If the slot has no owner,
  // the next change of the topology tries again.
  #place(channel: Channel): void {
    const owner = this.#cluster.topology.ownerOf(channel.slot)
    if (owner === channel.node) return
    if (channel.node !== undefined) {
      this.#lose(channel)
      this.#connections.get(channel.node)?.unsubscribe(channel.name)
    }
    channel.node = owner
    if (owner !== undefined) this.#connectionTo(owner).subscribe(channel.name)
  }

  #placeAll(): void {
    if (this.#isClosed) return
    for (const channel of this.#channels.values()) this.#place(channel)
    const masters = new Set(this.#cluster.topology.masters)
    for (const [node, connection] of this.#connections) if (!masters.has(node)) connection.close()
  }

  #connectionTo(node: string): PubSubConnection {
    const open = this.#connections.get(node)
    if (open !== undefined) return open
    const connection = new PubSubConnection(addressOf(node), this.#options, {
      onMessage: (name, payload) => {
        this.#channels.get(name)?.listener.onMessage(payload)
      },
      onSubscribed: name => {
        this.#subscribed(name, node)
      },
      onUnsubscribed: (name, refusal) => {
        this.#unsubscribed(name, node, refusal)
      },
      onEnd: reason => {
        this.#ended(node, connection, reason)
      }
    })
    this.#connections.set(node, connection)
    return connection
  }

  #subscribed(name: string, node: string): void {
    const channel = this.#channels.get(name)
    this.#tries = 0
    if (channel?.node === node) {
      channel.lostAt = undefined
      channel.isToldLost = false
      channel.listener.onSubscribed(performance.now() - this.#lostAt > SETTLE_MS)
    }
  }

  #unsubscribed(name: string, node: string, refusal: Error | undefined): void {
    const channel = this.#channels.get(name)
    if (channel?.node !== node) return
    channel.node = undefined
    this.#lose(channel)
    this.#events.lost(refusal === undefined ? 'moved' : 'refused')
    if (refusal !== undefined) this.#refused(refusal, node)
    this.#placeSoon()
  }

  #refused(error: unknown, node: string): void {
    const step = nextStep(error, addressOf(node).host)
    if (step.kind === 'moved') this.#cluster.moved(step.slot, step.to)
    if (step.kind !== 'give-up') return
    this.#cluster.refused(step.error)
    this.#isRefusedForGood ||= isForGood(step.error)
  }

  #ended(node: string, connection: PubSubConnection, reason: Error): void {
    if (this.#connections.get(node) !== connection) return
    this.#connections.delete(node)
    if (this.#isClosed) return
    this.#refused(reason, node)
    for (const channel of this.#channels.values()) {
      if (channel.node !== node) continue
      channel.node = undefined
      this.#lose(channel)
    }
    this.#lostAt = performance.now()
    this.#events.lost('connection')
    this.#placeSoon()
  }

  // Attempts that fail do not count as the beginning of another loss.
  #lose(channel: Channel): void {
    this.#lostAt = performance.now()
    channel.lostAt ??= this.#lostAt
  }

  #tellLost(): void {
    const longAgo = performance.now() - LOST_MS
    for (const channel of this.#channels.values()) {
      if (channel.isToldLost || channel.lostAt === undefined || channel.lostAt > longAgo) continue
      channel.isToldLost = true
      channel.listener.onLost?.()
    }
  }

  // Many channels are lost at once, and one topology look serves them all. Repeats until every
  // channel is placed. The pauses grow, because a dead node refuses at once; they are longest if
  // only the operator of Redis can help. After a failover they delay nothing while there is
  // traffic, because topology looks that are made for other reasons place the channels too.
  #placeSoon(): void {
    if (this.#isPlacing) return
    this.#isPlacing = true
    void (async () => {
      const waitMs = this.#isRefusedForGood
        ? REFUSED_RETRY_MS
        : backoffMs(this.#tries++, RETRY_MS, RETRY_MS_MAX)
      const restMs = this.#placedAt + waitMs - performance.now()
      if (restMs > 0) await sleep(restMs, undefined, { ref: false })
      this.#isRefusedForGood = false
      // A failed refresh is followed by the next one; the known topology stays in use.
      await this.#cluster.refresh().catch(() => undefined)
      this.#isPlacing = false
      this.#placedAt = performance.now()
      this.#placeAll()
      if ([...this.#channels.values()].some(({ node }) => node === undefined)) this.#placeSoon()
    })()
  }
}
