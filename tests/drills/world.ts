// The surroundings of a drill: an embedded cluster and service processes of its own, in a temporary
// folder, and a list of what was done to them and when. `stop` removes all of it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { redisTarget } from '../../src/config/redis-target.js'
import { EmbeddedCluster } from '../../src/embedded/cluster.js'
import { Admin } from '../../src/cli/cluster/admin.js'
import { type Hosts } from './hosts.js'
import { Operator } from './operator.js'
import { Service } from '../support/service.js'
import { servicePorts } from '../support/service-ports.js'

export type WorldOptions = {
  /** Service processes, default 2. */
  readonly services?: number
  readonly shards?: number
  /**
   * Networked hosts, one for each node; the services run on the first and the last host. By default
   * everything runs on loopback.
   */
  readonly hosts?: Hosts
  /** Settings of the services by their environment names. */
  readonly env?: Readonly<Record<string, string>>
  /** Options of Node itself for the services. */
  readonly nodeOptions?: readonly string[]
  /** Gets a line for each action. */
  readonly report?: (line: string) => void
}

/** `atMs` is on the clock of performance.now(). */
export type Deed = { readonly atMs: number; readonly text: string }

export class World {
  readonly cluster: EmbeddedCluster
  readonly operator: Operator
  readonly services: readonly Service[]
  readonly #hosts: Hosts | undefined
  readonly deeds: Deed[] = []
  readonly #folder: string
  readonly #report: (line: string) => void

  private constructor(
    folder: string,
    cluster: EmbeddedCluster,
    services: readonly Service[],
    hosts: Hosts | undefined,
    report: (line: string) => void
  ) {
    this.#hosts = hosts
    this.#folder = folder
    this.cluster = cluster
    this.operator = new Operator(cluster)
    this.services = services
    this.#report = report
  }

  static async start({
    services = 2,
    shards = 3,
    hosts,
    env = {},
    nodeOptions = [],
    report = () => {}
  }: WorldOptions): Promise<World> {
    const folder = mkdtempSync(join(tmpdir(), 'dialogs-drill-'))
    for (const signal of SIGNALS) process.once(signal, exit)
    let world: World | undefined
    try {
      const cluster = await EmbeddedCluster.start({
        dataDir: folder,
        shards,
        ...(hosts === undefined ? {} : { place: index => hosts.at(index) })
      })
      // Not earlier: until a service listens, another process may choose the same port.
      const ports = await servicePorts(services)
      const placed = ports.map(
        (port, index) =>
          new Service({
            port,
            redisNodes: cluster.urls,
            env,
            nodeOptions,
            ...(hosts === undefined ? {} : { place: hosts.at(-index) })
          })
      )
      world = new World(folder, cluster, placed, hosts, report)
      process.once('exit', world.#endAtExit)
      await Promise.all(world.services.map(service => service.start()))
      return world
    } catch (error) {
      if (world === undefined) rmSync(folder, { recursive: true, force: true })
      else await world.stop()
      throw error
    }
  }

  /** DATA_DIR of its embedded cluster. */
  get dataDir(): string {
    return this.#folder
  }

  /** @throws Error in a world on loopback */
  get hosts(): Hosts {
    if (this.#hosts === undefined) throw new Error('This world has no hosts')
    return this.#hosts
  }

  get urls(): string[] {
    return this.services.map(({ url }) => url)
  }

  /** Records an action with the current time. */
  did(text: string): void {
    this.deeds.push({ atMs: performance.now(), text })
    this.#report(text)
  }

  /** Changes the cluster with the code of the cluster command. */
  async administer<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = await Admin.connect(redisTarget(this.cluster.urls))
    try {
      return await work(admin)
    } finally {
      admin.close()
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.services.map(service => service.end('SIGKILL')))
    process.off('exit', this.#endAtExit)
    for (const signal of SIGNALS) process.off(signal, exit)
    await this.cluster.stop()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  readonly #endAtExit = (): void => {
    for (const { pid } of this.services) if (pid !== undefined) process.kill(pid, 'SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

// A process that dies of a signal runs no exit handlers. The nodes are in process groups of their
// own, and would run for ever.
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGALRM'] as const
const exit = (): never => process.exit(1)
