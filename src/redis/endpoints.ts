// How nodes want to be reached: at their address, by a host name, or at the host that was asked
// (behind a load balancer). Redis' setting cluster-preferred-endpoint-type says which. The reply to
// `CLUSTER NODES` does not show it, that to `CLUSTER SHARDS` does
// (https://redis.io/commands/cluster-shards). So `CLUSTER SHARDS` is asked too, but only when a
// node appears or announces something new; all other topology looks cost nothing more.
import { type Address, addressKey } from './address.js'
import { isRedisError, type Reply } from './connection.js'

const SEEN_MAX = 10_000

export class Endpoints {
  /** Address in `CLUSTER NODES` → where the node wants to be reached, if that is different. */
  readonly #preferred = new Map<string, Address>()
  /** Nodes as they were announced when `CLUSTER SHARDS` was last asked. */
  readonly #seen = new Set<string>()

  /** Where the node that `CLUSTER NODES` shows at this address wants to be reached. */
  of(announced: Address): Address {
    return this.#preferred.get(addressKey(announced)) ?? announced
  }

  /**
   * Notes the nodes in a reply to `CLUSTER NODES`, before the reply is used.
   * @param askedHost where the answering node was reached
   * @param askShards sends that node `CLUSTER SHARDS`
   */
  async learn(
    nodesReply: string,
    askedHost: string,
    askShards: () => Promise<Reply>
  ): Promise<void> {
    const announced = announcedIn(nodesReply)
    if (announced.every(words => this.#seen.has(words))) return
    try {
      for (const { ip, ports, endpoint } of parseShards(await askShards())) {
        const host = endpoint === null || endpoint === '' ? askedHost : endpoint
        for (const port of ports) {
          const key = addressKey({ host: ip === '' ? askedHost : ip, port })
          // A node that prefers a name but has none answers `?`. Then only its address is usable.
          if (host === ip || host === '?') this.#preferred.delete(key)
          else this.#preferred.set(key, { host, port })
        }
      }
    } catch (error) {
      // If the permission is missing or the node does not know the command, nodes are reached at
      // their addresses.
      if (!isRedisError(error)) throw error
    }
    if (this.#seen.size > SEEN_MAX) this.#seen.clear()
    for (const words of announced) this.#seen.add(words)
  }

  /** Makes the next look ask again, because the way to reach a node has changed. */
  forget(): void {
    this.#seen.clear()
  }
}

// Id and addresses of each node that has completed its handshake:
// `<id> <ip:port@cport[,hostname…]>`.
function announcedIn(nodesReply: string): string[] {
  return nodesReply.split('\n').flatMap(line => {
    const [id, where, flags] = line.split(' ')
    return id === undefined ||
      where === undefined ||
      flags === undefined ||
      /handshake|noaddr/.test(flags)
      ? []
      : [`${id} ${where}`]
  })
}

type ShardNode = {
  readonly ip: string
  readonly ports: readonly number[]
  readonly endpoint: string | null
}

/**
 * Parses `CLUSTER SHARDS`: a list of shards. A shard and each of its nodes is a flat list of names
 * and values.
 */
function parseShards(reply: Reply): ShardNode[] {
  return listOf(reply).flatMap(shard =>
    listOf(fieldsOf(shard).get('nodes')).map(node => {
      const fields = fieldsOf(node)
      const endpoint = fields.get('endpoint')
      return {
        ip: String(fields.get('ip') ?? ''),
        ports: [fields.get('port'), fields.get('tls-port')].filter(
          port => typeof port === 'number'
        ),
        endpoint: typeof endpoint === 'string' ? endpoint : null
      }
    })
  )
}

const listOf = (reply: Reply | undefined): readonly Reply[] =>
  Array.isArray(reply) ? (reply as readonly Reply[]) : []

function fieldsOf(reply: Reply): Map<string, Reply> {
  const list = listOf(reply)
  const fields = new Map<string, Reply>()
  for (let index = 0; index + 1 < list.length; index += 2) {
    fields.set(String(list[index]), list[index + 1] ?? null)
  }
  return fields
}
