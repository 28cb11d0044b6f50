// The other processes of the service, as far as a lost publication is concerned. A publication is
// only lost in silence if its writer died between commit and publication, or could not publish. So
// each process leaves a sign of life in Redis every few seconds. A sign that is overdue without a
// farewell tells all others to compare what they follow with the store once; a writer that could
// not publish names the channels. Idle channels cost nothing. Invariant: while this process cannot
// hear of the others, everything counts as in doubt again and again.
// The three places are independent of each other: what is heard at one of them is enough, so that
// neither a lost shard nor a link cut between a writer and one shard hides a writer's death.
import { randomBytes } from 'node:crypto'
import { type Cluster } from '../redis/cluster.js'
import { Remembered } from '../remembered.js'
import { PEER_PLACES } from './keys.js'
import { Place, type Doubt } from './peer-place.js'

export type PeersOptions = {
  /** ms without a sign of life after which a process counts as vanished. */
  readonly vanishedMs: number
}

export type PeersEvents = {
  /** Publications to these channels may have been lost, or to any of them. */
  doubted: (channels: readonly string[] | 'all') => void
  failed: (error: unknown) => void
}

/** Signs within the time after which a process counts as vanished. */
const SIGNS = 5
/** Own doubts are collected for this long. */
const COLLECT_MS = 100
/** Channels that one doubt names; more than that, and it is all of them. */
const CHANNELS_MAX = 64

export class Peers {
  readonly #id = randomBytes(9).toString('base64url')
  readonly #options: PeersOptions
  readonly #events: PeersEvents
  readonly #places: readonly Place[]
  /** The doubts that were heard, from one place or another. */
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
    this.#places = PEER_PLACES.map(place => new Place(cluster, place, this.#id, options.vanishedMs))
  }

  /** Signs for the first time, as far as Redis can be reached, and then goes on signing. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => {
      this.#heedBlindness()
      void this.#signAll()
    }, this.#options.vanishedMs / SIGNS).unref()
    // One place is enough, and one whose shard is down must not hold up the start.
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

  /** The process has published everything, or has said what it could not. */
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

  // The places tell of a death at about the same time, and it is looked for once. One that was cut
  // off from a place is told to be gone there, and may die later: a sign that ran out this much
  // later at another place was still renewed when the first one was told.
  #vanished(peer: string): void {
    if (peer === this.#id) return
    const now = performance.now()
    if (now - (this.#gone.get(peer) ?? -Infinity) < this.#options.vanishedMs / 2) return
    this.#gone.set(peer, now)
    this.#events.doubted('all')
  }

  #heedBlindness(): void {
    const { vanishedMs } = this.#options
    const now = performance.now()
    const isBlind = this.#places.every(({ signedAt }) => now - signedAt > vanishedMs)
    if (!isBlind || now - this.#blindAt < vanishedMs) return
    this.#blindAt = now
    this.#events.doubted('all')
  }
}
