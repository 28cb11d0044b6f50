// The service below its routes: everything that stores, publishes and follows rooms and people, and
// how these parts call each other. app.ts builds it for HTTP, the simulation on a simulated
// network, so that both run the same wiring. Invariant: a channel on which a publication may have
// been lost is put in doubt at every process, this one included. Knows nothing of HTTP, metrics or
// the log: it reports events.
import { Hub, type HubEvents, type HubOptions } from './live/hub.js'
import { People, type PeopleOptions } from './live/people.js'
import { Signals } from './live/signals.js'
import { type Cluster } from './redis/cluster.js'
import { type ConnectionOptions } from './redis/connection.js'
import { Subscriber, type SubscriberEvents } from './redis/subscriber.js'
import { REMOVALS_CHANNEL } from './store/keys.js'
import { Peers, type PeersOptions } from './store/peers.js'
import { Publisher } from './store/publisher.js'
import { Store, type StoreOptions } from './store/store.js'

type StoreSettings = Omit<StoreOptions, 'publish' | 'onDoubt' | 'onFault'>

export type ServiceSettings = {
  readonly store: StoreSettings
  readonly live: HubOptions &
    PeopleOptions &
    PeersOptions & {
      /** Signals per second, and as many at once after a quiet second. */
      readonly signalsPerSecondMax: number
    }
}

export type ServiceEvents = Omit<HubEvents, 'failed'> & {
  /** Publications to these channels may have been lost, or to any channel. */
  doubted: (channels: readonly string[] | 'all') => void
  subscriptionLost: SubscriberEvents['lost']
  /** Background work failed, for which no request is answered. */
  fault: (what: string, error: unknown) => void
}

export class Service {
  readonly cluster: Cluster
  readonly subscriber: Subscriber
  readonly store: Store
  readonly hub: Hub
  readonly people: People
  readonly signals: Signals
  readonly #peers: Peers
  readonly #publisher: Publisher

  /**
   * @param cluster belongs to the service from here on: `stop` closes it
   * @param connection for the connections on which the service is subscribed
   */
  constructor(
    cluster: Cluster,
    connection: ConnectionOptions,
    settings: ServiceSettings,
    events: ServiceEvents
  ) {
    const { fault } = events
    this.cluster = cluster
    this.subscriber = new Subscriber(cluster, connection, { lost: events.subscriptionLost })
    this.#peers = new Peers(cluster, settings.live, {
      doubted: channels => {
        events.doubted(channels)
        if (channels === 'all' || channels.includes(REMOVALS_CHANNEL)) {
          this.store.members.doubtRemovals()
        }
        for (const listener of [this.hub, this.people]) {
          if (channels === 'all') listener.doubtAll()
          else for (const channel of channels) listener.doubt(channel)
        }
      },
      failed: error => {
        fault('peers', error)
      }
    })
    this.#publisher = new Publisher(cluster, (error, channel) => {
      fault('publish', error)
      this.#peers.doubt(channel)
    })
    this.store = new Store(cluster, {
      ...settings.store,
      publish: (room, entries) => {
        this.#publisher.publish(room, entries)
      },
      onDoubt: channel => {
        this.#peers.doubt(channel)
      },
      onFault: fault
    })
    this.store.members.listen(this.subscriber)
    this.hub = new Hub(this.store, this.subscriber, settings.live, { ...events, failed: fault })
    this.people = new People(this.store, this.hub, this.subscriber, settings.live, {
      failed: fault
    })
    this.signals = new Signals(cluster, settings.live.signalsPerSecondMax)
  }

  /**
   * To be awaited before the first write: from then on the other processes notice if this one
   * vanishes.
   */
  async start(): Promise<void> {
    await this.#peers.start()
  }

  /**
   * Waits until what was answered is published, tells the other processes that this one is gone,
   * and closes everything. Streams must have been drained before (`hub.drain`).
   */
  async stop(): Promise<void> {
    this.store.deletions.close()
    await this.store.settled()
    await this.#publisher.settled()
    await this.#peers.leave()
    this.people.close()
    this.hub.close()
    this.subscriber.close()
    this.cluster.close()
  }
}
