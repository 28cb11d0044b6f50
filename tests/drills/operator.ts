// The cluster as an operator sees it: what the nodes say about each other, which are healthy, and
// commands to single nodes. Opens a new connection for each question, so that a fault cannot cut
// the connection through which it is observed. Paused and dead nodes are not asked.
import { setTimeout as sleep } from 'node:timers/promises'
import { type EmbeddedCluster } from '../../src/embedded/cluster.js'
import { connect } from '../../src/embedded/connection.js'
import { type EmbeddedNode } from '../../src/embedded/node.js'
import { messageOf } from '../../src/errors.js'
import { SLOT_COUNT } from '../../src/redis/slots.js'
import { parseClusterNodes, type ClusterNode } from '../../src/redis/topology.js'

export type Answer = string | number | null | Answer[]

/** A process, and what the cluster says about it. */
export type Member = { readonly process: EmbeddedNode; readonly node: ClusterNode }

const POLL_MS = 50
const ANSWER_MS_MAX = 5_000
/** Generous, because a full synchronisation takes long on a busy machine. */
const HEALTHY_MS_MAX = 120_000

export class Operator {
  readonly #cluster: EmbeddedCluster
  readonly #paused = new Set<EmbeddedNode>()

  constructor(cluster: EmbeddedCluster) {
    this.#cluster = cluster
  }

  /** Nodes that run and are not paused. */
  get awake(): EmbeddedNode[] {
    return this.#cluster.nodes.filter(node => node.isRunning && !this.#paused.has(node))
  }

  /**
   * Sends one command to one node.
   * @throws Redis' error, or an Error when it does not answer within 5 s
   */
  async ask(node: EmbeddedNode, ...words: string[]): Promise<Answer> {
    const client = await connect(node.url)
    const timer = setTimeout(() => {
      client.disconnect().catch(() => undefined)
    }, ANSWER_MS_MAX)
    try {
      // A reply of Redis is a string, a number, nil, or a list of these.
      return (await client.sendCommand(words)) as Answer
    } finally {
      clearTimeout(timer)
      if (client.isOpen) await client.disconnect()
    }
  }

  /** Sends one command to every node that is awake. Nodes that fail are left out of the result. */
  async askAll(...words: string[]): Promise<Answer[]> {
    const answers = await Promise.allSettled(this.awake.map(node => this.ask(node, ...words)))
    return answers.flatMap(answer => (answer.status === 'fulfilled' ? [answer.value] : []))
  }

  async pause(node: EmbeddedNode): Promise<void> {
    this.#paused.add(node)
    await node.kill('SIGSTOP')
  }

  async resume(node: EmbeddedNode): Promise<void> {
    await node.kill('SIGCONT')
    this.#paused.delete(node)
  }

  /** One node's view: all nodes with their processes. */
  async members(asked: EmbeddedNode | undefined = this.awake[0]): Promise<Member[]> {
    if (asked === undefined) throw new Error('No node of the cluster is awake')
    const nodes = parseClusterNodes(String(await this.ask(asked, 'CLUSTER', 'NODES')), '127.0.0.1')
    return nodes.flatMap(node => {
      const process = this.#cluster.nodes.find(({ port }) => port === node.address.port)
      return process === undefined ? [] : [{ process, node }]
    })
  }

  /** Masters that own slots, in the order of their first slot. */
  async masters(): Promise<Member[]> {
    const members = await this.members()
    return members
      .filter(({ node }) => node.role === 'master' && node.slots.length > 0)
      .sort((a, b) => (a.node.slots[0]?.[0] ?? 0) - (b.node.slots[0]?.[0] ?? 0))
  }

  async replicas(): Promise<Member[]> {
    return (await this.members()).filter(({ node }) => node.role === 'replica')
  }

  /**
   * Waits until every node that is awake reports an owner of the slot other than `lost`.
   * @returns when the first of them did, on the clock of performance.now()
   */
  async untilTakenOver(slot: number, lost: EmbeddedNode): Promise<number> {
    let firstMs = Infinity
    await this.#until(async () => {
      const views = await Promise.all(
        this.awake.filter(node => node !== lost).map(node => this.members(node))
      )
      const owners = views.map(view =>
        view.find(({ node }) => node.role === 'master' && includesSlot(node.slots, slot))
      )
      const isTaken = owners.map(owner => owner !== undefined && owner.process !== lost)
      if (isTaken.includes(true)) firstMs = Math.min(firstMs, performance.now())
      return !isTaken.includes(false) || `a node holds ${lost.port} for the owner of slot ${slot}`
    })
    return firstMs
  }

  /**
   * Waits until the majority of the masters suspects the node, or considers it failed.
   * @returns when that was seen, on the clock of performance.now()
   */
  async untilSuspected(lost: EmbeddedNode): Promise<number> {
    const masters = (await this.masters()).map(({ process }) => process)
    await this.#until(async () => {
      const views = await Promise.all(masters.map(master => this.members(master)))
      const suspecting = views.filter(view =>
        view.some(({ process, node }) => process === lost && (node.isSuspected || node.isFailed))
      )
      return (
        suspecting.length > masters.length / 2 ||
        `${suspecting.length} of ${masters.length} masters suspect node ${lost.port}`
      )
    })
    return performance.now()
  }

  /**
   * Waits until every running node says that the cluster works, agrees with the others about every
   * slot and considers none of them dead, and until every replica is connected.
   * @param replicasMin how many replicas each master with slots must have; 0 while a node is dead
   */
  async untilHealthy(replicasMin = 1): Promise<void> {
    await this.#until(async () => (await this.#fault(replicasMin)) ?? true)
  }

  async #fault(replicasMin: number): Promise<string | undefined> {
    const running = this.#cluster.nodes.filter(node => node.isRunning)
    const views = await Promise.all(
      running.map(async process => {
        const view = await this.members(process)
        return {
          process,
          view,
          info: String(await this.ask(process, 'CLUSTER', 'INFO')),
          replication: String(await this.ask(process, 'INFO', 'replication'))
        }
      })
    )
    const pictures = views.map(({ process, view }) => ({ port: process.port, text: picture(view) }))
    if (new Set(pictures.map(({ text }) => text)).size !== 1) {
      const said = pictures.map(({ port, text }) => `${port} says: ${text}`)
      return `the nodes do not agree about the slots: ${said.join('; ')}`
    }
    for (const { process, view, info, replication } of views) {
      if (!info.includes('cluster_state:ok')) return `node ${process.port} says cluster_state:fail`
      if (!info.includes(`cluster_slots_ok:${SLOT_COUNT}`)) {
        return `node ${process.port} does not know the owner of every slot`
      }
      const down = view.find(
        ({ process, node }) => process.isRunning && (node.isFailed || !node.isLinked)
      )
      if (down !== undefined) return `node ${process.port} considers ${down.process.port} dead`
      if (replication.includes('role:slave') && !replication.includes('master_link_status:up')) {
        return `replica ${process.port} is not connected to its master`
      }
      const isOwner = view.some(
        member => member.process === process && member.node.slots.length > 0
      )
      const online = [...replication.matchAll(/^slave\d+:.*state=online/gm)].length
      if (isOwner && online < replicasMin) return `master ${process.port} has ${online} replicas`
    }
    return undefined
  }

  // `check` returns true, or says what is missing.
  async #until(check: () => Promise<true | string>): Promise<void> {
    const deadline = performance.now() + HEALTHY_MS_MAX
    for (;;) {
      const result = await check().catch(
        (error: unknown) => `a node does not answer: ${messageOf(error)}`
      )
      if (result === true) return
      if (performance.now() > deadline) {
        throw new Error(`Not within ${HEALTHY_MS_MAX / 1000} s: ${result}`)
      }
      await sleep(POLL_MS)
    }
  }
}

export const includesSlot = (ranges: ClusterNode['slots'], slot: number): boolean =>
  ranges.some(([first, last]) => first <= slot && slot <= last)

const picture = (view: readonly Member[]): string =>
  view
    .filter(({ node }) => node.slots.length > 0)
    .map(({ node }) => `${node.id.slice(0, 8)} ${node.slots.join(' ')}`)
    .sort()
    .join(', ')
