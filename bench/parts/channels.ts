// What very many subscribed channels cost one shard: memory, and processor time for subscribing,
// publishing, and dropping all channels when a process is gone. These are the figures of the model
// in bench/README.md. The subscribers are raw connections, as many as there would be processes.
import { setTimeout as sleep } from 'node:timers/promises'
import { addressOf } from '../../src/redis/address.js'
import { PubSubConnection } from '../../src/redis/pubsub-connection.js'
import { encodeCommand } from '../../src/redis/resp.js'
import { roomChannel } from '../../src/store/keys.js'
import { newRoom } from '../names.js'
import { type Part } from '../part.js'
import { RawConnection } from '../raw-connection.js'
import { NODE_OPTIONS, type RedisNodes } from '../redis-nodes.js'
import { row } from '../table.js'

const CHANNELS = 500_000
/** Each dialog has two people, on two processes. */
const SUBSCRIBERS = 2
const CONNECTIONS = 100
const PIPELINE = 500
const PUBLICATIONS = 50_000
const PUBLICATION_BYTES = 300
const MICROSECONDS = 1e6
const POLL_MS = 10

type Cost = {
  readonly bytes: number
  readonly subscribeUs: number
  readonly publishUs: number
  readonly forgetUs: number
  readonly forgetMs: number
}

export const channels: Part = {
  name: 'channels',
  about: 'what half a million subscribed channels cost a shard',
  rounds: 1,
  seconds: 0,
  run: async bench => {
    const { redis } = await bench.dialogs()
    const count = bench.size(CHANNELS, 500)
    const [node = ''] = redis.masters
    const names = channelsOf(redis, node, count)
    const costs = await bench.interleave<Cost>([
      { name: 'channels', measure: () => measure(redis, node, names) }
    ])
    const samples = (figure: keyof Cost): number[] =>
      (costs.get('channels') ?? []).map(cost => cost[figure])
    return {
      tables: [
        {
          title: `${count} channels on one shard, ${SUBSCRIBERS} of ${CONNECTIONS} connections at each`,
          rows: [
            row('memory of Redis for a channel', 'B', samples('bytes')),
            row('processor time of Redis for a subscription', 'µs', samples('subscribeUs')),
            row(
              `for a publication of ${PUBLICATION_BYTES} bytes to ${SUBSCRIBERS} subscribers`,
              'µs',
              samples('publishUs')
            ),
            row('for each channel of a connection that ends', 'µs', samples('forgetUs')),
            row('a connection ends: Redis answers nobody for at most', 'ms', samples('forgetMs'))
          ],
          notes: [
            `A connection has ${(SUBSCRIBERS * count) / CONNECTIONS} channels. The time for which Redis answers nobody is that of a PING sent right after the end.`
          ]
        }
      ]
    }
  }
}

/** Channels of rooms whose slots belong to a node. */
function channelsOf(redis: RedisNodes, node: string, count: number): string[] {
  const room = newRoom()
  const names: string[] = []
  for (let n = 0; names.length < count; n++) {
    const name = roomChannel(`${room}-${n}`)
    if (redis.ownerOf(name) === node) names.push(name)
  }
  return names
}

async function measure(redis: RedisNodes, node: string, names: readonly string[]): Promise<Cost> {
  const subscribers = Array.from({ length: CONNECTIONS }, () => new Subscribing(node))
  const publisher = new RawConnection(node)
  try {
    const before = await usageOf(redis, node)
    await Promise.all(
      subscribers.map((subscriber, index) =>
        // The two processes of a dialog are different.
        subscriber.subscribe(
          names.filter((_, n) => n % CONNECTIONS === index || (n * 7 + 1) % CONNECTIONS === index)
        )
      )
    )
    const subscribed = await usageOf(redis, node)
    const subscriptions = subscribers.reduce((sum, { count }) => sum + count, 0)
    const payload = 'x'.repeat(PUBLICATION_BYTES)
    const publications = Math.min(PUBLICATIONS, 10 * names.length)
    for (let n = 0; n < publications; n += PIPELINE) {
      await publisher.exchange(
        Array.from({ length: PIPELINE }, (_, i) =>
          // The index is below the number of names.
          encodeCommand(['SPUBLISH', names[((n + i) * 31) % names.length] as string, payload])
        ).join('')
      )
    }
    const published = await usageOf(redis, node)
    const [gone] = subscribers
    const startedMs = performance.now()
    gone?.close()
    await publisher.exchange('')
    const forgetMs = performance.now() - startedMs
    const forgotten = await usageOf(redis, node)
    return {
      bytes: (subscribed.bytes - before.bytes) / names.length,
      subscribeUs: ((subscribed.cpu - before.cpu) / subscriptions) * MICROSECONDS,
      publishUs: ((published.cpu - subscribed.cpu) / publications) * MICROSECONDS,
      forgetUs: ((forgotten.cpu - published.cpu) / (gone?.count ?? 1)) * MICROSECONDS,
      forgetMs
    }
  } finally {
    for (const subscriber of subscribers) subscriber.close()
    publisher.close()
  }
}

/** To Redis, this looks like a process of the service. */
class Subscribing {
  count = 0
  readonly #connection: PubSubConnection
  #onEnd: (reason: Error) => void = () => undefined

  constructor(node: string) {
    this.#connection = new PubSubConnection(addressOf(node), NODE_OPTIONS, {
      onMessage: () => undefined,
      onSubscribed: () => {
        this.count++
      },
      onUnsubscribed: (_channel, refusal) => {
        this.#onEnd(refusal ?? new Error('Redis ended a subscription'))
      },
      onEnd: reason => {
        this.#onEnd(reason)
      }
    })
  }

  async subscribe(names: readonly string[]): Promise<void> {
    let failure: Error | undefined
    this.#onEnd = reason => {
      failure = reason
    }
    for (const name of names) this.#connection.subscribe(name)
    while (this.count < names.length) {
      if (failure !== undefined) throw failure
      await sleep(POLL_MS)
    }
    this.#onEnd = () => undefined
  }

  close(): void {
    this.#connection.close()
  }
}

async function usageOf(
  redis: RedisNodes,
  node: string
): Promise<{ readonly bytes: number; readonly cpu: number }> {
  const info = String(await redis.send(node, ['INFO', 'all']))
  const figure = (name: string): number =>
    Number(new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1])
  return {
    bytes: figure('used_memory'),
    cpu: figure('used_cpu_user') + figure('used_cpu_sys')
  }
}
