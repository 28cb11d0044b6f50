// A local Redis Cluster of real redis-server processes on loopback, for machines without one:
// created on the first start, its data kept over restarts. One process owns a data directory at a
// time; the nodes that a killed owner left running are ended first. It does not handle signals
// (main.ts calls stop), and it does not restart a node that died, because drills want to observe
// that.

import { existsSync, mkdirSync, statfsSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { messageOf } from '../errors.js'
import { closeHoles } from './aof-holes.js'
import { findRedisServer } from './found-redis.js'
import { DataDirLock } from './lock.js'
import { type Manifest, readManifest, rememberData, rewriteAddresses } from './manifest.js'
import { type EmbeddedNode, endOrphan } from './node.js'
import { dataIn, tornSince } from './node-data.js'
import { NodeSet } from './node-set.js'
import { SizeNotes, takeNotes } from './size-notes.js'
import { freePorts, isNodePortFree } from './ports.js'
import { asServiceUser, LOOPBACK, type NodePlace } from './redis-conf.js'
import { lostNodes, refusalOf, restore } from './restore.js'

export type EmbeddedOptions = {
  /** Folder for everything: configuration, data, logs. Created if missing. */
  readonly dataDir: string
  /** Masters of a new cluster, default 3. An existing cluster stays as it is. */
  readonly shards?: number
  /** Replicas of each master of a new cluster, default 1. */
  readonly replicas?: number
  /**
   * Redis's cluster-node-timeout, default 2000: a dead master is replaced after about 1 s more than
   * this.
   */
  readonly nodeTimeoutMs?: number
  /**
   * Where the nodes run, by their number from 0; by default on loopback. Drills that cut the
   * network between nodes give each one a host of its own.
   */
  readonly place?: (index: number) => NodePlace
  /** Restores nodes that have lost their data from the others, instead of refusing to start. */
  readonly acceptsLoss?: boolean
  /** Gets a line for each step worth showing. */
  readonly report?: (line: string) => void
}

/**
 * Loaded while the nodes boot: it imports the client library, which takes 0.15 s. With an import at
 * the top, the first node would start that much later.
 */
const formation = () => import('./formation.js')

const OWNER_WAIT_MS = 5_000
const FORM_MS_MAX = 30_000

export class EmbeddedCluster {
  readonly #dataDir: string
  readonly #options: EmbeddedOptions
  readonly #set: NodeSet
  readonly #notes: SizeNotes
  readonly #lock: DataDirLock
  readonly #report: (line: string) => void
  #stopping: Promise<void> | undefined

  private constructor(
    dataDir: string,
    options: EmbeddedOptions,
    command: string,
    lock: DataDirLock
  ) {
    this.#dataDir = dataDir
    this.#options = options
    this.#lock = lock
    this.#report = options.report ?? (() => {})
    this.#notes = new SizeNotes(dataDir)
    this.#set = new NodeSet({
      dataDir,
      command,
      nodeTimeoutMs: options.nodeTimeoutMs ?? 2000,
      place: options.place ?? (() => LOOPBACK),
      report: this.#report
    })
  }

  /**
   * Resolves when every slot can be written to. If it rejects, nothing that it started is still
   * running.
   */
  static async start(options: EmbeddedOptions): Promise<EmbeddedCluster> {
    const command = await findRedisServer()
    const dataDir = resolve(options.dataDir)
    try {
      makeFolder(dataDir)
      const lock = await lockFolder(dataDir)
      const cluster = new EmbeddedCluster(dataDir, options, command, lock)
      process.once('exit', cluster.#endAtExit)
      await cluster.#start().catch(async (error: unknown) => {
        await cluster.stop()
        throw error
      })
      return cluster
    } catch (error) {
      if (!isFull(dataDir)) throw error
      throw new Error(`There is no space left for ${dataDir}: make room and start again`, {
        cause: error
      })
    }
  }

  /** All nodes of the cluster, running or not. */
  get nodes(): readonly EmbeddedNode[] {
    return this.#set.nodes
  }

  /** For administration: as the default user, who may do everything. */
  get urls(): string[] {
    return this.nodes.map(node => node.url)
  }

  /** For the service: as a user with no more permissions than the service needs. */
  get serviceUrls(): string[] {
    return this.urls.map(asServiceUser)
  }

  /**
   * Starts another, empty node, which comes back after a restart. The caller must introduce it to
   * the cluster.
   */
  async addNode(): Promise<EmbeddedNode> {
    if (this.#stopping !== undefined) throw new Error('the embedded cluster is stopped')
    return await this.#set.add()
  }

  /**
   * Stops a node and removes its folder with all its data. The caller must tell the others (CLUSTER
   * FORGET).
   */
  async forgetNode(node: EmbeddedNode): Promise<void> {
    await this.#set.forget(node)
  }

  /** Stops all nodes and waits until they have ended. May be called again. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#notes.stop()
    try {
      await this.#set.stop()
    } finally {
      process.off('exit', this.#endAtExit)
      this.#lock.release()
    }
  }

  // Nodes run detached and would outlive a process that ends by an uncaught error.
  readonly #endAtExit = (): void => {
    this.#set.signalAll()
  }

  async #start(): Promise<void> {
    takeNotes(this.#dataDir)
    const manifest = readManifest(this.#dataDir)
    if (this.#lock.isAfterMachineStop) {
      this.#report(
        'The machine stopped while this cluster ran. Redis writes to the disk once a second, so what was acknowledged in the last two seconds before may be missing'
      )
    }
    const orphans = await Promise.all(
      (manifest?.nodes ?? []).map(entry => endOrphan(this.#set.dirOf(entry)))
    )
    if (orphans.includes(true)) {
      this.#report('Ended the redis-server processes that a killed service had left running')
    }

    if (manifest === undefined) await this.#create()
    else if (manifest.isComplete) await this.#resume(manifest)
    else await this.#createAgain(manifest)
    this.#set.rememberData(true)
    this.#notes.start()
  }

  async #create(): Promise<void> {
    const { shards = 3, replicas = 1 } = this.#options
    const ports = await freePorts(shards * (1 + replicas))
    this.#report(
      `Creating a Redis Cluster of ${shards} masters and ${shards * replicas} replicas in ${this.#dataDir}`
    )
    await this.#startNodes({
      isComplete: false,
      nodes: ports.map((port, index) => ({ name: `node-${index + 1}`, port }))
    })
    const { formCluster } = await formation()
    await formCluster(this.nodes, shards, FORM_MS_MAX)
    this.#set.complete()
  }

  async #resume(manifest: Manifest): Promise<void> {
    const lost = lostNodes(this.#dataDir, manifest.nodes)
    if (lost.length > 0) {
      if (this.#options.acceptsLoss !== true) throw new Error(refusalOf(this.#dataDir, lost))
      for (const line of restore(this.#dataDir, manifest.nodes, lost)) this.#report(line)
    }
    this.#report(`Starting the ${manifest.nodes.length} Redis nodes in ${this.#dataDir}`)
    await this.#startWithData(await this.#withFreePorts(manifest))
    const { waitUntilUp } = await formation()
    await waitUntilUp(this.nodes, FORM_MS_MAX)
  }

  async #startWithData(manifest: Manifest): Promise<void> {
    const dirs = manifest.nodes.map(entry => this.#set.dirOf(entry))
    const before = dirs.map(dataIn)
    try {
      await this.#startNodes(manifest)
      for (const line of tornSince(before, dirs)) this.#report(line)
    } catch (error) {
      await Promise.all(this.nodes.map(node => node.stop()))
      const closed = dirs.flatMap(closeHoles)
      if (closed.length === 0) throw error
      for (const line of closed) this.#report(line)
      rememberData(this.#dataDir, true)
      await this.#startNodes(readManifest(this.#dataDir) ?? manifest)
    }
  }

  // The client library is loaded while the nodes boot.
  async #startNodes(manifest: Manifest): Promise<void> {
    await Promise.all([formation(), this.#set.start(manifest)])
  }

  // The last start crashed while it created the cluster. The service cannot have written anything
  // yet, but the nodes are asked before they are deleted.
  async #createAgain(manifest: Manifest): Promise<void> {
    await this.#startNodes(await this.#withFreePorts(manifest))
    const { countKeys } = await formation()
    const keyCount = await countKeys(this.nodes)
    if (keyCount > 0) {
      throw new Error(
        `${this.#dataDir} holds a cluster that was never completed, yet has ${keyCount} keys: move the folder away to start with an empty cluster`
      )
    }
    this.#report('Creating the cluster again: the last start was interrupted while it did so')
    for (const node of this.nodes) await this.forgetNode(node)
    await this.#create()
  }

  // Another program may have taken a node's port while the cluster was stopped.
  async #withFreePorts(manifest: Manifest): Promise<Manifest> {
    const isFree = await Promise.all(manifest.nodes.map(entry => isNodePortFree(entry.port)))
    const taken = manifest.nodes.filter((_, index) => !isFree[index]).map(entry => entry.port)
    if (taken.length === 0) return manifest
    const ports = await freePorts(
      taken.length,
      manifest.nodes.map(entry => entry.port)
    )
    const newPorts = new Map(taken.map((port, index) => [port, ports[index] ?? port]))
    this.#report(
      `Ports ${taken.join(', ')} are taken by another program: using ${ports.join(', ')} instead`
    )
    rewriteAddresses(
      manifest.nodes.map(entry => this.#set.dirOf(entry)),
      newPorts
    )
    return {
      ...manifest,
      nodes: manifest.nodes.map(entry => ({
        ...entry,
        port: newPorts.get(entry.port) ?? entry.port
      }))
    }
  }
}

async function lockFolder(dataDir: string): Promise<DataDirLock> {
  try {
    return await DataDirLock.acquire(dataDir, OWNER_WAIT_MS)
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error
    throw new Error(
      `DATA_DIR must be a folder in which this process may write: ${messageOf(error)}`,
      { cause: error }
    )
  }
}

/** The least that Redis needs to start: its log, its configuration, a first append-only file. */
const SPACE_MIN = 1024 * 1024

function makeFolder(dataDir: string): void {
  try {
    makeFolders(dataDir)
  } catch (error) {
    throw new Error(`DATA_DIR must be a folder: ${messageOf(error)}`, { cause: error })
  }
}

// Not `recursive: true`: below a folder in which none can be made, such as /proc, Node 20 would try
// for ever.
function makeFolders(dir: string): void {
  if (isFolder(dir)) return
  makeFolders(dirname(dir))
  try {
    mkdirSync(dir)
  } catch (error) {
    // Another process may have made it.
    if (!isFolder(dir)) throw error
  }
}

const isFolder = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

function isFull(dir: string): boolean {
  if (!existsSync(dir)) return false
  const { blocks, bavail, bsize } = statfsSync(dir)
  // File systems such as /proc have no blocks at all.
  return blocks > 0 && bavail * bsize < SPACE_MIN
}
