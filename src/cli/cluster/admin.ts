// Connections to every node of a cluster, for its operator: what each node says, and commands to
// single nodes. Unlike the service's Cluster it repeats nothing and follows no redirection, because
// moving slots requires knowing which node did what.
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { type RedisTarget } from '../../config/redis-target.js'
import { messageOf } from '../../errors.js'
import { type Address, addressKey } from '../../redis/address.js'
import { Connection, ConnectionLost, type Reply } from '../../redis/connection.js'
import { Endpoints } from '../../redis/endpoints.js'
import { parseClusterNodes } from '../../redis/topology.js'
import { ClusterMap, type MapNode, type View } from './map.js'
import { Refusal, Stuck } from './refusal.js'

/**
 * The connection name of a process that moves slots or changes the cluster. It ends with the
 * connection, so a crash leaves no lock behind.
 */
const WORKER_NAME = 'dialogs-cluster'
const CONNECT_MS_MAX = 1000
/** More than a MIGRATE may take. */
const COMMAND_MS_MAX = 15_000
const VIEW_MS_MAX = 2000
const POLL_MS = 50
/** How many first looks may find only silent nodes, which on a busy machine may just be late. */
const LOOKS_MAX = 3

type Reachable = Pick<MapNode, 'reachable'>

export class Admin {
  readonly target: RedisTarget
  readonly #connections = new Map<string, Promise<Connection>>()
  readonly #endpoints = new Endpoints()
  #known: Address[] = []
  #isWorking = false

  private constructor(target: RedisTarget) {
    this.target = target
  }

  /** @throws Refusal when no node of a cluster answers */
  static async connect(target: RedisTarget): Promise<Admin> {
    const admin = new Admin(target)
    for (let looks = 1; ; looks++) {
      try {
        await admin.look()
        return admin
      } catch (error) {
        if (error instanceof Refusal && looks < LOOKS_MAX) continue
        admin.close()
        throw error
      }
    }
  }

  /**
   * Asks every node for its view.
   * @throws Refusal when no node answers that knows of slots
   */
  async look(): Promise<ClusterMap> {
    const views = new Map<string, View>()
    const asked = new Set<string>()
    let lastError: unknown
    const ask = async (addresses: readonly Address[]): Promise<View[]> => {
      const fresh = addresses.filter(address => !asked.has(addressKey(address)))
      for (const address of fresh) asked.add(addressKey(address))
      const answers = await Promise.allSettled(fresh.map(address => this.#viewOf(address)))
      for (const answer of answers) if (answer.status === 'rejected') lastError = answer.reason
      return answers.flatMap(answer => (answer.status === 'fulfilled' ? [answer.value] : []))
    }
    // A seed may have left the cluster and describe a cluster of its own. The view with the most
    // nodes is the right one.
    const first = (await ask([...this.#known, ...this.target.seeds]))
      .filter(({ nodes }) => nodes.some(({ slots }) => slots.length > 0))
      .sort((a, b) => b.nodes.length - a.nodes.length)
    if (first.length === 0) {
      throw new Refusal(
        `No Redis Cluster answers at ${this.target.seeds.map(addressKey).join(', ')}${lastError === undefined ? '' : `: ${messageOf(lastError)}`}`
      )
    }
    const members = new Set(first[0]?.nodes.map(({ id }) => id))
    for (let found = first; found.length > 0;) {
      for (const view of found) if (members.has(view.selfId)) views.set(view.selfId, view)
      const nodes = found.filter(({ selfId }) => views.has(selfId)).flatMap(({ nodes }) => nodes)
      for (const { id } of nodes) members.add(id)
      found = await ask(nodes.map(({ address }) => this.reachable(address)))
    }
    const map = ClusterMap.fromViews([...views.values()], announced => this.reachable(announced))
    this.#known = [...map.nodes.values()].map(({ reachable }) => reachable)
    return map
  }

  /**
   * Looks again until `missing` returns undefined.
   * @param missing the condition that is not met yet, in words such as `the nodes agree`
   * @throws Stuck with that condition after the deadline
   */
  async until(
    missing: (map: ClusterMap) => string | undefined,
    deadlineMs: number
  ): Promise<ClusterMap> {
    const deadline = performance.now() + deadlineMs
    for (;;) {
      const map = await this.look()
      const what = missing(map)
      if (what === undefined) return map
      if (performance.now() > deadline) {
        throw new Stuck(`This has not happened within ${deadlineMs / 1000} s: ${what}`)
      }
      await sleep(POLL_MS)
    }
  }

  /** Sends one command to one node, once. @throws ConnectionLost, or Redis' error reply */
  async ask({ reachable }: Reachable, ...words: string[]): Promise<Reply> {
    return await (await this.#connectionTo(reachable)).send(words)
  }

  /**
   * Sends many commands to one node as one pipeline.
   * @throws the first error, after all have been answered
   */
  async askAll({ reachable }: Reachable, commands: readonly string[][]): Promise<Reply[]> {
    const connection = await this.#connectionTo(reachable)
    const answers = await Promise.allSettled(commands.map(words => connection.send(words)))
    return answers.map(answer => {
      if (answer.status === 'rejected') throw answer.reason
      return answer.value
    })
  }

  /** Where this process reaches a node that announces this address. */
  reachable(announced: Address): Address {
    const { addressMap } = this.target
    const preferred = this.#endpoints.of(announced)
    return (
      addressMap.get(addressKey(announced)) ?? addressMap.get(addressKey(preferred)) ?? preferred
    )
  }

  /**
   * From now on, until `close`, this process is the one that changes the cluster: two processes
   * that move slots at the same time would leave keys on both sides.
   * @throws Refusal when there is another one
   */
  async claim(map: ClusterMap): Promise<void> {
    this.#isWorking = true
    await Promise.all(
      livingMasters(map).map(master => this.ask(master, 'CLIENT', 'SETNAME', WORKER_NAME))
    )
    const other = await this.findWorker(map)
    if (other !== undefined) {
      throw new Refusal(
        `Another cluster command is running (from ${other}): wait until it has ended.`
      )
    }
  }

  /** The address of another process that is changing the cluster now. */
  async findWorker(map: ClusterMap): Promise<string | undefined> {
    for (const master of livingMasters(map)) {
      const [id, list] = (
        await this.askAll(master, [
          ['CLIENT', 'ID'],
          ['CLIENT', 'LIST']
        ])
      ).map(String)
      const other = list
        ?.split('\n')
        .find(line => line.includes(` name=${WORKER_NAME} `) && !line.startsWith(`id=${id} `))
      if (other !== undefined) return / addr=(\S+)/.exec(other)?.[1] ?? 'somewhere'
    }
    return undefined
  }

  close(): void {
    for (const connection of this.#connections.values()) {
      connection.then(
        open => {
          open.close('closed by this process')
        },
        () => undefined
      )
    }
    this.#connections.clear()
  }

  async #viewOf(address: Address): Promise<View> {
    const connection = await this.#connectionTo(address)
    const answers = Promise.all(
      ['MYID', 'INFO', 'NODES'].map(what => connection.send(['CLUSTER', what]))
    )
    const [selfId, info, nodes] = (await Promise.race([answers, silence(address)])).map(String)
    await this.#endpoints.learn(nodes ?? '', address.host, () =>
      connection.send(['CLUSTER', 'SHARDS'])
    )
    return {
      selfId: selfId ?? '',
      isServing: info?.includes('cluster_state:ok') === true,
      nodes: parseClusterNodes(nodes ?? '', address.host)
    }
  }

  async #connectionTo(address: Address): Promise<Connection> {
    const key = addressKey(address)
    for (;;) {
      const opening = this.#connections.get(key) ?? this.#open(address)
      this.#connections.set(key, opening)
      try {
        const connection = await opening
        if (connection.isUsable) return connection
      } catch (error) {
        this.#drop(key, opening)
        throw error
      }
      this.#drop(key, opening)
    }
  }

  #drop(key: string, opening: Promise<Connection>): void {
    if (this.#connections.get(key) === opening) this.#connections.delete(key)
  }

  async #open(address: Address): Promise<Connection> {
    const connection = await Connection.open(address, {
      ...this.target,
      connectTimeoutMs: CONNECT_MS_MAX,
      commandTimeoutMs: COMMAND_MS_MAX
    })
    if (this.#isWorking) await connection.send(['CLIENT', 'SETNAME', WORKER_NAME])
    return connection
  }
}

const livingMasters = (map: ClusterMap): MapNode[] =>
  map.masters.filter(({ state }) => state === 'up')

// A paused node accepts connections and commands, but does not answer.
async function silence(address: Address): Promise<never> {
  await sleep(VIEW_MS_MAX, undefined, { ref: false })
  // Timers come before sockets: if this process itself stood still, answers wait to be read.
  await turn()
  throw new ConnectionLost(`${addressKey(address)} does not answer`)
}
