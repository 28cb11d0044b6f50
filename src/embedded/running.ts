// The embedded cluster of a running service, as seen by another process: the cluster command, which
// adds and removes nodes. Invariant: a node is in cluster.json from before its process begins until
// after it has ended, so that the owner's stop ends it and the owner's restart starts it. Takes no
// lock: the owner keeps running, and each change concerns one entry of cluster.json.

import { existsSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Address } from '../redis/address.js'
import { findRedisServer } from './found-redis.js'
import {
  enterNode,
  type ManifestNode,
  noteJoined,
  readManifest,
  rememberData,
  strikeNode
} from './manifest.js'
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

  /** The cluster of a data directory, running or not; undefined if none was completed. */
  static find(dataDir: string, nodeTimeoutMs: number): RunningCluster | undefined {
    const dir = resolve(dataDir)
    if (!existsSync(dir) || readManifest(dir)?.isComplete !== true) return undefined
    return new RunningCluster(dir, nodeTimeoutMs)
  }

  /**
   * Addresses of its running nodes; none if the service is stopped. Includes a node that was added
   * but has not joined. Does not include nodes that are not running: their ports may be used by
   * anybody.
   */
  get addresses(): Address[] {
    return this.#entries()
      .filter(entry => pidIn(this.#dirOf(entry)) !== undefined)
      .map(({ port }) => ({ host, port }))
  }

  /** Those of `addresses` that an earlier command has started and perhaps not completely added. */
  get joining(): Address[] {
    const ports = new Set(this.#entries().flatMap(entry => (entry.isJoining ? [entry.port] : [])))
    return this.addresses.filter(({ port }) => ports.has(port))
  }

  /**
   * Starts another, empty node, which outlives this process. The caller must introduce it to the
   * cluster, and then call `joined`: until then it counts as left over by an interrupted command.
   */
  async addNode(): Promise<Address> {
    const command = await findRedisServer()
    const [port] = await freePorts(
      1,
      this.#entries().map(node => node.port)
    )
    if (port === undefined) throw new Error('no free port')
    const entry = enterNode(this.#dataDir, port, true)
    const node = new EmbeddedNode(
      command,
      { dir: this.#dirOf(entry), port, nodeTimeoutMs: this.#nodeTimeoutMs, place: LOOPBACK },
      () => {}
    )
    try {
      await node.start()
      rememberData(this.#dataDir, false)
    } catch (error) {
      await node.stop()
      this.#remove(entry)
      throw error
    }
    node.leave()
    return { host, port }
  }

  /** These nodes are part of the cluster now. */
  joined(nodes: readonly Address[]): void {
    noteJoined(
      this.#dataDir,
      nodes.map(({ port }) => port)
    )
  }

  /** Ends a node, whoever started it, and removes its folder with all its data. */
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
