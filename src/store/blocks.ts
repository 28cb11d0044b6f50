// Lists the blocks of a room and where they lie, page by page. There is no directory of blocks, and
// a user's blocks are numbered over all rooms. So every block that a user of the room has in any
// room is asked for its length here: one XLEN each, and a limited number of them per page.
import { type Cluster } from '../redis/cluster.js'
import { slotOf } from '../redis/slots.js'
import { blockOf } from '../message/message.js'
import { blockKey, splitNumber, userCountKey } from './keys.js'
import { type Users } from './users.js'

/** One stream of a user's messages in a room. `shard` is its master's `host:port`. */
export type Block = {
  readonly key: string
  readonly slot: number
  readonly shard: string | undefined
  readonly messages: number
}

export type BlocksPage = {
  /** How many users the room has. */
  readonly users: number
  /** May be empty even if there is a next page. */
  readonly blocks: Block[]
  /** Topology.version: who owned which slot when the blocks' shards were named. */
  readonly version: string
  /** The `after` of the next page, `<user>.<block>`; undefined on the last page. */
  readonly next: string | undefined
}

const USERS_AT_ONCE = 100

export class Blocks {
  readonly #cluster: Cluster
  readonly #users: Users
  readonly #blockLength: number

  constructor(cluster: Cluster, users: Users, blockLength: number) {
    this.#cluster = cluster
    this.#users = users
    this.#blockLength = blockLength
  }

  /**
   * Looks at up to `limit` blocks after `after`, ordered by user (as in Users.page) and then by
   * number.
   * @throws DialogsError INVALID_CURSOR as Users.page does
   */
  async page(room: string, after: string | undefined, limit: number): Promise<BlocksPage> {
    const [afterUser, afterBlock] =
      after === undefined ? [undefined, 0] : (splitNumber(after) ?? [after, 0])
    const tags = afterUser === undefined ? [] : await this.#tags(afterUser, afterBlock + 1)
    let total: number | undefined
    for (
      let behind = afterUser, isLast = false;
      !isLast && (tags.length <= limit || total === undefined);
    ) {
      const page = await this.#users.page(room, behind, Math.min(USERS_AT_ONCE, limit))
      total = page.total
      tags.push(...(await Promise.all(page.users.map(({ user }) => this.#tags(user, 0)))).flat())
      behind = page.next
      isLast = page.next === undefined
    }
    const looked = tags.slice(0, limit)
    const lengths = await Promise.all(looked.map(tag => this.#lengthOf(blockKey(room, tag))))
    // Nothing is awaited from here on, so all shards are of one version.
    const { topology } = this.#cluster
    const blocks = looked.map((tag, index) => {
      const key = blockKey(room, tag)
      const slot = slotOf(key)
      return { key, slot, shard: topology.ownerOf(slot), messages: lengths[index] ?? 0 }
    })
    return {
      users: total ?? 0,
      blocks: blocks.filter(({ messages }) => messages > 0),
      version: topology.version,
      next: tags.length > limit ? looked.at(-1) : undefined
    }
  }

  /** All blocks of a room. */
  async all(room: string): Promise<Block[]> {
    const blocks: Block[] = []
    let after: string | undefined
    do {
      const page = await this.page(room, after, 1000)
      blocks.push(...page.blocks)
      after = page.next
    } while (after !== undefined)
    return blocks
  }

  async #tags(user: string, from: number): Promise<string[]> {
    const count = Number(
      await this.#cluster.command(slotOf(userCountKey(user)), ['GET', userCountKey(user)])
    )
    const blocks = count < 1 ? 0 : blockOf(count, this.#blockLength) + 1
    return Array.from(
      { length: Math.max(0, blocks - from) },
      (_, index) => `${user}.${from + index}`
    )
  }

  async #lengthOf(key: string): Promise<number> {
    return Number(await this.#cluster.command(slotOf(key), ['XLEN', key]))
  }
}
