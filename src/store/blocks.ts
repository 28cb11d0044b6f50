// Lists the blocks of a room and the shards they are on, page by page. There is no directory of
// blocks, and a user's blocks are numbered over all rooms. So for each user of the room, every
// block number that the user has in any room is tried here: one GET per user and one XLEN per
// block. A page looks at a limited number of both, because most users of a large room may have
// written nothing.
import { type Cluster } from '../redis/cluster.js'
import { slotOf } from '../redis/slots.js'
import { DialogsError } from '../errors.js'
import { blockOf } from '../message/message.js'
import { checkName } from '../message/names.js'
import { blockKey, userCountKey } from './keys.js'
import { formatTag, splitNumber } from '../message/block-tag.js'
import { type Log } from './log.js'
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
  /** How many messages a block may have. */
  readonly blockLength: number
  /** May be empty even if there is a next page. */
  readonly blocks: Block[]
  /** Topology.version: who owned which slot when the blocks' shards were named. */
  readonly version: string
  /** The `after` of the next page, `<user>.<block>`; undefined on the last page. */
  readonly next: string | undefined
}

const USERS_AT_ONCE = 100
/** How many users one page looks at. */
const USERS_MAX = 1000

export class Blocks {
  readonly #cluster: Cluster
  readonly #log: Pick<Log, 'deletion'>
  readonly #users: Users
  readonly #blockLength: number

  constructor(cluster: Cluster, log: Pick<Log, 'deletion'>, users: Users, blockLength: number) {
    this.#cluster = cluster
    this.#log = log
    this.#users = users
    this.#blockLength = blockLength
  }

  /**
   * Looks at up to `limit` blocks after `after`, ordered by user (as in Users.page) and then by
   * number, and at those of up to USERS_MAX users.
   * @throws DialogsError INVALID_CURSOR as Users.page does, and if `after` names no user
   */
  async page(room: string, after: string | undefined, limit: number): Promise<BlocksPage> {
    const [afterUser, afterBlock] =
      after === undefined ? [undefined, 0] : (splitNumber(after) ?? [after, 0])
    if (afterUser !== undefined) checkUser(afterUser)
    const tags = afterUser === undefined ? [] : await this.#tags(afterUser, afterBlock + 1)
    const { total, users, next } = await this.#users.page(room, afterUser, USERS_MAX)
    for (let from = 0; from < users.length && tags.length <= limit; from += USERS_AT_ONCE) {
      const some = users.slice(from, from + USERS_AT_ONCE)
      tags.push(...(await Promise.all(some.map(({ user }) => this.#tags(user, 0)))).flat())
    }
    const looked = tags.slice(0, limit)
    const keys = await this.#keys(room, looked)
    const lengths = await Promise.all(keys.map(key => this.#lengthOf(key)))
    // Nothing is awaited from here on, so all shards are of one version.
    const { topology } = this.#cluster
    const blocks = keys.map((key, index) => {
      const slot = slotOf(key)
      return { key, slot, shard: topology.ownerOf(slot), messages: lengths[index] ?? 0 }
    })
    return {
      users: total,
      blockLength: this.#blockLength,
      blocks: blocks.filter(({ messages }) => messages > 0),
      version: topology.version,
      next: tags.length > limit ? looked.at(-1) : lastOf(next, looked)
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

  // After a room was deleted, only what was written since.
  async #keys(room: string, tags: readonly string[]): Promise<string[]> {
    const { seq: generation } = await this.#log.deletion(room)
    return tags.map(tag => {
      const [user = '', block = 0] = splitNumber(tag) ?? []
      return blockKey(room, formatTag({ user, block, generation }))
    })
  }

  async #lengthOf(key: string): Promise<number> {
    return Number(await this.#cluster.command(slotOf(key), ['XLEN', key]))
  }
}

// The user comes from outside and is about to become part of a key. Braces in it would move the key
// to another slot than the one that is asked.
function checkUser(user: string): void {
  try {
    checkName('user', user)
  } catch (error) {
    throw new DialogsError(
      'INVALID_CURSOR',
      'The parameter after must be the next of a page: begin again, without it.',
      { cause: error }
    )
  }
}

/**
 * The cursor behind all blocks of a user: after the last one that was looked at, or after block 0
 * if the user has none.
 */
function lastOf(user: string | undefined, looked: readonly string[]): string | undefined {
  if (user === undefined) return undefined
  const last = looked.at(-1)
  return last !== undefined && splitNumber(last)?.[0] === user ? last : `${user}.0`
}
