// The nodes of a data directory, and the record of them (the manifest). Invariant: a node is
// recorded before it is started and until its folder is removed, so that a later start finds, and
// can end, whatever a killed process has left running. Knows nothing of how they form a cluster.
import { rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import {
  enterNode,
  type Manifest,
  type ManifestNode,
  readManifest,
  rememberData,
  strikeNode,
  writeManifest
} from './manifest.js'
import { EmbeddedNode, endOrphan } from './node.js'
import { freePorts } from './ports.js'
import { isErrno, signalTo } from './processes.js'
import { type NodePlace } from './redis-conf.js'

export type NodeSetOptions = {
  readonly dataDir: string
  /** The redis-server to run. */
  readonly command: string
  readonly nodeTimeoutMs: number
  readonly place: (index: number) => NodePlace
  readonly report: (line: string) => void
}

export class NodeSet {
  readonly #options: NodeSetOptions
  #nodes: EmbeddedNode[] = []
  #manifest: Manifest = { isComplete: false, nodes: [] }

  constructor(options: NodeSetOptions) {
    this.#options = options
  }

  /** All nodes, running or not. */
  get nodes(): readonly EmbeddedNode[] {
    return this.#nodes
  }

  /** Records the nodes and starts them. */
  async start(manifest: Manifest): Promise<void> {
    this.#record(manifest)
    this.#nodes = manifest.nodes.map((entry, index) => this.#makeNode(entry, index))
    await Promise.all(this.#nodes.map(node => node.start()))
  }

  /** Records that the nodes form a cluster. */
  complete(): void {
    this.#record({ ...this.#manifest, isComplete: true })
  }

  /**
   * Starts another, empty node, which comes back after a restart. The caller must introduce it to
   * the cluster.
   */
  async add(): Promise<EmbeddedNode> {
    const [port] = await freePorts(
      1,
      readManifest(this.#options.dataDir)?.nodes.map(node => node.port)
    )
    if (port === undefined) throw new Error('no free port')
    const node = this.#makeNode(enterNode(this.#options.dataDir, port), this.#nodes.length)
    this.#nodes = [...this.#nodes, node]
    try {
      await node.start()
      rememberData(this.#options.dataDir, false)
    } catch (error) {
      await this.forget(node)
      throw error
    }
    return node
  }

  /**
   * Stops a node and removes its folder with all its data. The caller must tell the others (CLUSTER
   * FORGET).
   */
  async forget(node: EmbeddedNode): Promise<void> {
    if (!this.#nodes.includes(node)) {
      throw new Error(`the node on port ${node.port} is not of this cluster`)
    }
    await node.stop()
    this.#nodes = this.#nodes.filter(other => other !== node)
    rmSync(node.dir, { recursive: true, force: true })
    strikeNode(this.#options.dataDir, basename(node.dir))
  }

  /** Stops all nodes, and those that the cluster command added (running.ts). */
  async stop(): Promise<void> {
    await Promise.all([
      ...this.#nodes.map(node => node.stop()),
      ...this.#guests().map(dir => endOrphan(dir))
    ])
    this.rememberData(false)
  }

  /** Sends each node a signal to end, without waiting. */
  signalAll(): void {
    for (const { pid } of this.#nodes) if (pid !== undefined) signalTo(pid, 'SIGTERM')
  }

  /**
   * Records how much data each node has; the next start compares. If the disk is full, an older
   * record stays, which is as sound.
   */
  rememberData(isLoaded: boolean): void {
    if (this.#nodes.length === 0) return // this process has started no node
    try {
      rememberData(this.#options.dataDir, isLoaded)
    } catch (error) {
      if (!isErrno(error, 'ENOSPC')) throw error
      this.#options.report(`There is no space left in ${this.#options.dataDir}`)
    }
  }

  dirOf(entry: ManifestNode): string {
    return join(this.#options.dataDir, entry.name)
  }

  // Folders of nodes that are not children of this process, but that it must end.
  #guests(): string[] {
    if (this.#nodes.length === 0) return [] // this process has started no node
    const own = new Set(this.#nodes.map(node => node.dir))
    return (readManifest(this.#options.dataDir)?.nodes ?? [])
      .map(entry => this.dirOf(entry))
      .filter(dir => !own.has(dir))
  }

  #makeNode(entry: ManifestNode, index: number): EmbeddedNode {
    const { command, nodeTimeoutMs, place, report } = this.#options
    return new EmbeddedNode(
      command,
      { dir: this.dirOf(entry), port: entry.port, nodeTimeoutMs, place: place(index) },
      report
    )
  }

  #record(manifest: Manifest): void {
    writeManifest(this.#options.dataDir, manifest)
    this.#manifest = manifest
  }
}
