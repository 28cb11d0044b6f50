// The embedded cluster of a running service, as another process finds it: for the cluster command,
// which adds and removes nodes. Invariant: a node is in cluster.json before its process begins and
// until it has ended, so that the owner's stop ends it and the owner's restart brings it up. Takes
// no lock: the owner goes on, and only one line of cluster.json changes at a time.

import { existsSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Address } from '../redis/address.js'
import { findRedisServer } from './found-redis.js'
import { enterNode, type ManifestNode, readManifest, strikeNode } from './manifest.js'
import { EmbeddedNode, endOrphan, pidIn } from './node.js'
import { freePorts } from './ports.js'
import { LOOPBACK } from './redis-conf.js'

const { host } = LOOPBACK

export class RunningCluster {
  readonly #dataDir: string
  readonly #nodeTimeoutMs: number

  private constructor(dataDir: string, nodeTimeoutMs: number) {
    this.#dataDir = dataDir
    this.#nodeTimeoutMs = nodeTimeoutMs
  }

  /** The cluster of a data directory, running or not; undefined where none was completely made. */
  static find(dataDir: string, nodeTimeoutMs: number): RunningCluster | undefined {
    const dir = resolve(dataDir)
    if (!existsSync(dir) || readManifest(dir)?.isComplete !== true) return undefined
    return new RunningCluster(dir, nodeTimeoutMs)
  }

  /**
   * Where its running nodes are; none when the service is stopped. One that was added but has not
   * met the others is among them. What listens on the port of a node that does not run may be
   * anybody's.
   */
  get addresses(): Address[] {
    return this.#entries()
      .filter(entry => pidIn(this.#dirOf(entry)) !== undefined)
      .map(({ port }) => ({ host, port }))
  }

  /**
   * Starts a further, empty node, which outlives this process. It has not met the cluster: that is
   * the caller's to do.
   */
  async addNode(): Promise<Address> {
    const command = await findRedisServer()
    const [port] = await freePorts(
      1,
      this.#entries().map(node => node.port)
    )
    if (port === undefined) throw new Error('no free port')
    const entry = enterNode(this.#dataDir, port)
    const node = new EmbeddedNode(
      command,
      { dir: this.#dirOf(entry), port, nodeTimeoutMs: this.#nodeTimeoutMs, place: LOOPBACK },
      () => {}
    )
    try {
      await node.start()
    } catch (error) {
      await node.stop()
      this.#remove(entry)
      throw error
    }
    node.leave()
    return { host, port }
  }

  /** Ends a node, whoever started it, and removes its folder with all data in it. */
  async forgetNode({ port }: Address): Promise<void> {
    const entry = this.#entries().find(entry => entry.port === port)
    if (entry === undefined) return
    await endOrphan(this.#dirOf(entry))
    this.#remove(entry)
  }

  #remove(entry: ManifestNode): void {
    rmSync(this.#dirOf(entry), { recursive: true, force: true })
    strikeNode(this.#dataDir, entry.name)
  }

  #entries(): readonly ManifestNode[] {
    return readManifest(this.#dataDir)?.nodes ?? []
  }

  #dirOf(entry: ManifestNode): string {
    return join(this.#dataDir, entry.name)
  }
}
