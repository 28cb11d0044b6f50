// The service itself: a process with default settings and an embedded Redis Cluster of its own,
// with three masters, a replica each, and one acknowledgement. It can be restarted, and asked for
// its metrics and for the counts of its Redis nodes.
import { World } from '../../tests/drills/world.js'
import { profiling } from '../profile.js'
import { RedisNodes } from '../redis-nodes.js'
import { COLLECTING } from '../../tests/drills/collecting.js'
import { type StreamRequest, type Target } from './target.js'

export class Dialogs implements Target {
  readonly name = 'Dialogs'
  readonly redis: RedisNodes
  readonly #world: World
  readonly #isProfiled: boolean

  private constructor(world: World, redis: RedisNodes, isProfiled: boolean) {
    this.#world = world
    this.#isProfiled = isProfiled
    this.redis = redis
  }

  /**
   * @param profileFolder where each of its processes writes its profile, which slows the process
   * down
   */
  static async start(profileFolder?: string, services = 1): Promise<Dialogs> {
    const options =
      profileFolder === undefined ? COLLECTING : `${COLLECTING} ${profiling(profileFolder)}`
    const world = await World.start({ services, env: { NODE_OPTIONS: options } })
    try {
      return new Dialogs(
        world,
        await RedisNodes.connect(world.cluster.urls),
        profileFolder !== undefined
      )
    } catch (error) {
      await world.stop()
      throw error
    }
  }

  get url(): string {
    return this.#service.url
  }

  get pid(): number | undefined {
    return this.#service.pid
  }

  /** Of all its processes. */
  get urls(): readonly string[] {
    return this.#world.urls
  }

  get pids(): ReadonlyArray<number | undefined> {
    return this.#world.services.map(({ pid }) => pid)
  }

  get redisUrls(): readonly string[] {
    return this.#world.cluster.urls
  }

  stream(room: string): StreamRequest {
    // The first frame sets `retry`, and the last one before live messages is `live`.
    return {
      kind: 'sse',
      path: `/rooms/${room}/events?last=0`,
      liveMark: 'event: live',
      otherFrames: 2
    }
  }

  /** Ends the (first) process and starts a new one on the same port. The cluster keeps running. */
  async restart(): Promise<void> {
    await this.#service.end('SIGTERM')
    await this.#service.start()
  }

  /** The sum of a metric over its labels. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text()
    const values = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].map(
      ([, value]) => Number(value)
    )
    return values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0)
  }

  async stop(): Promise<void> {
    await this.redis.stop()
    // A process writes its profile only when it ends by itself.
    if (this.#isProfiled) {
      await Promise.all(this.#world.services.map(service => service.end('SIGTERM')))
    }
    await this.#world.stop()
  }

  get #service(): World['services'][number] {
    const [service] = this.#world.services
    if (service === undefined) throw new Error('The world has no service')
    return service
  }
}
