// Watches the other processes of the service, so that a lost publication is noticed. A publication
// is lost unnoticed only if its writer died between commit and publication, or could not publish.
// So each process renews a sign of life in Redis every few seconds. If a sign becomes overdue
// without a farewell, all other processes compare everything that they follow with the store, once.
// A writer that could not publish tells them the channels. Idle channels cost nothing. Invariant:
// while this process cannot hear of the others, it regards everything as in doubt, again and again.
//
// There are three places for the signs, independent of each other. Hearing of something at one of
// them is enough, so neither a lost shard nor a cut link between a writer and a shard hides a
// death.
import { randomBytes } from 'node:crypto'
import { type Cluster } from '../redis/cluster.js'
import { Remembered } from '../remembered.js'
import { PEER_PLACES } from './keys.js'
import { type Doubt, PeerPlace } from './peer-place.js'

export type PeersOptions = {
  /** ms without a sign of life after which a process counts as vanished. */
  readonly vanishedMs: number
}

export type PeersEvents = {
  /** Publications to these channels may have been lost; `all`: to any channel. */
  doubted: (channels: readonly string[] | 'all') => void
  failed: (error: unknown) => void
}

/** How often a process signs within the time after which it would count as vanished. */
const SIGNS = 5
/** How long this process collects channels in doubt before it tells the others. */
const COLLECT_MS = 100
/** How many channels one doubt names. Beyond that, it names all channels. */
const CHANNELS_MAX = 64

export class Peers {
  readonly #id = randomBytes(9).toString('base64url')
  readonly #options: PeersOptions
  readonly #events: PeersEvents
  readonly #places: readonly PeerPlace[]
  /** The ids of doubts that were heard already, at whichever place. */
  readonly #heard = new Remembered<true>()
  /** When a vanished process was last heard of. */
  readonly #gone = new Remembered<number>()
  readonly #doubted = new Set<string>()
  #doubts = 0
  #collecting: NodeJS.Timeout | undefined
  #timer: NodeJS.Timeout | undefined
  #blindAt = -Infinity

  constructor(cluster: Cluster, options: PeersOptions, events: PeersEvents) {
    this.#options = options
    this.#events = events
    this.#places = PEER_PLACES.map(
      keys => new PeerPlace(cluster, keys, this.#id, options.vanishedMs)
    )
  }

  /** Signs for the first time, wherever Redis can be reached, and then goes on signing. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => {
      this.#doubtIfBlind()
      void this.#signAll()
    }, this.#options.vanishedMs / SIGNS).unref()
    // One place is enough. A place whose shard is down must not hold up the start.
    await Promise.any(
      this.#places.map(async place => {
        await place.sign().catch((error: unknown) => {
          this.#events.failed(error)
          throw error
        })
      })
    ).catch(() => undefined)
  }

  /** A publication of this process may not have reached the channel. */
  doubt(channel: string): void {
    this.#doubted.add(channel)
    this.#collecting ??= setTimeout(() => {
      this.#tell()
    }, COLLECT_MS)
  }

  /** Tells the others what this process could not publish, takes its signs away, and ends. */
  async leave(): Promise<void> {
    clearInterval(this.#timer)
    if (this.#doubted.size > 0) {
      this.#tell()
      await this.#signAll()
    }
    await Promise.all(
      this.#places.map(async place => {
        await place.unsign().catch(this.#events.failed)
      })
    )
  }

  #tell(): void {
    clearTimeout(this.#collecting)
    this.#collecting = undefined
    const channels = this.#doubted.size > CHANNELS_MAX ? 'all' : [...this.#doubted]
    this.#doubted.clear()
    const id = `${this.#id}:${++this.#doubts}`
    this.#heard.set(id, true)
    for (const place of this.#places) place.add(id, channels)
    this.#events.doubted(channels)
    void this.#signAll()
  }

  async #signAll(): Promise<void> {
    await Promise.all(
      this.#places.map(async place => {
        try {
          for (const doubt of await place.sign()) this.#hear(doubt)
        } catch (error) {
          this.#events.failed(error)
        }
      })
    )
  }

  #hear(doubt: Doubt): void {
    if (doubt.kind === 'missed') this.#events.doubted('all')
    else if (doubt.kind === 'gone') this.#vanished(doubt.peer)
    else if (!this.#heard.has(doubt.id)) {
      this.#heard.set(doubt.id, true)
      this.#events.doubted(doubt.channels)
    }
  }

  // All places tell of a death at about the same time, and one look at everything is enough. But a
  // process that was only cut off from one place is reported there as gone, and may die later. So a
  // report that comes much later from another place counts again: the sign there was still being
  // renewed when the first report came.
  #vanished(peer: string): void {
    if (peer === this.#id) return
    const now = performance.now()
    if (now - (this.#gone.get(peer) ?? -Infinity) < this.#options.vanishedMs / 2) return
    this.#gone.set(peer, now)
    this.#events.doubted('all')
  }

  // While no place can be reached, this process hears nothing, so everything is in doubt.
  #doubtIfBlind(): void {
    const { vanishedMs } = this.#options
    const now = performance.now()
    const isBlind = this.#places.every(({ signedAt }) => now - signedAt > vanishedMs)
    if (!isBlind || now - this.#blindAt < vanishedMs) return
    this.#blindAt = now
    this.#events.doubted('all')
  }
}
