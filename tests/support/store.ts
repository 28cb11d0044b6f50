// A store as one service process would have it, on a test's cluster. Records what it published and
// what went wrong in the background.
import { type Test } from 'tap'
import { readConfig } from '../../src/config.js'
import { type RedisTarget, redisTarget } from '../../src/config/redis-target.js'
import { type EmbeddedCluster } from '../../src/embedded/cluster.js'
import { asServiceUser } from '../../src/embedded/redis-conf.js'
import { Cluster, type ClusterOptions } from '../../src/redis/cluster.js'
import { isMessage, type Entry, type Message } from '../../src/message/message.js'
import { type Appended } from '../../src/store/idempotency.js'
import { Store, type StoreOptions } from '../../src/store/store.js'

export type TestStore = {
  readonly cluster: Cluster
  readonly store: Store
  readonly published: Message[]
  readonly faults: unknown[]
}

/** A connection to the cluster with the service's own defaults, closed after the test. */
export async function connectTo(
  t: Test,
  urls: readonly string[],
  options: Partial<ClusterOptions> & Partial<RedisTarget> = {}
): Promise<Cluster> {
  const cluster = await Cluster.connect(
    {
      ...redisTarget(urls.map(asServiceUser)),
      ...readConfig({}).cluster,
      ...options
    },
    { retried: () => undefined, degraded: () => undefined }
  )
  t.teardown(() => {
    cluster.close()
  })
  return cluster
}

/** A store with the service's own defaults. Use `cluster` to reach the cluster in another way. */
export async function openStore(
  t: Test,
  { urls }: Pick<EmbeddedCluster, 'urls'>,
  options: Partial<StoreOptions> = {},
  cluster: Partial<ClusterOptions> = {}
): Promise<TestStore> {
  const published: Message[] = []
  const faults: unknown[] = []
  const config = readConfig({})
  const connected = await connectTo(t, urls, {
    ...(options.storeDeadlineMs === undefined ? {} : { storeDeadlineMs: options.storeDeadlineMs }),
    ...cluster
  })
  const store = new Store(connected, {
    ...config.store,
    ...config.cluster,
    lostPatienceMs: 0,
    publish: (_room, messages) => {
      published.push(...messages.filter(isMessage))
    },
    onFault: (_what, error) => {
      faults.push(error)
    },
    ...options
  })
  // Before the connection is closed, because work that follows answered messages may still be in
  // progress.
  t.teardown(() => store.appender.settled())
  return { cluster: connected, store, published, faults }
}

export const append = (
  store: Store,
  room: string,
  user: string,
  text: string,
  once?: string
): Promise<Appended> => store.append({ room, user, text, once })

/**
 * Appends `count` messages at once, with the texts `<prefix>1` …, and returns them in the order of
 * their sequences.
 */
export async function appendMany(
  store: Store,
  room: string,
  user: string,
  count: number,
  prefix = 'text '
): Promise<Message[]> {
  const appended = await Promise.all(
    Array.from({ length: count }, (_, index) => append(store, room, user, `${prefix}${index + 1}`))
  )
  return appended.map(({ message }) => message).sort((a, b) => a.seq - b.seq)
}

/** All of a room, page by page. */
export async function readAll(store: Store, room: string, pageLength = 500): Promise<Entry[]> {
  const head = await store.head(room)
  const entries: Entry[] = []
  for (let from = 1; from <= head; from += pageLength) {
    entries.push(...(await store.history.range(room, from, Math.min(head, from + pageLength - 1))))
  }
  return entries
}
