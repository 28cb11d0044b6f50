// The blocks of a room: all of them once, then those of users who have written since, at most once
// a second. After a deletion of the room they are read anew.
import { parseTag } from '../../src/message/block-tag.js'

export type Brick = {
  readonly key: string
  readonly user: string
  /** The number of the block among the user's blocks. */
  readonly block: number
  readonly slot: number
  readonly messages: number
}

export type Found = {
  readonly bricks: readonly Brick[]
  /** How many messages a full brick has. */
  readonly blockLength: number
}

type BlocksAnswer = {
  readonly blockLength: number
  readonly blocks: ReadonlyArray<{
    readonly key: string
    readonly slot: number
    readonly messages: number
  }>
  readonly next: string | null
}

const PAGE = 1000
const PAUSE_MS = 1000
/** If more users than this wrote, reading all blocks again is cheaper. */
const USERS_MAX = 10

export class Bricks {
  readonly #url: string
  #bricks = new Map<string, Brick>()
  #blockLength = 0
  readonly #onChange: (found: Found) => void
  readonly #onFault: (message: string) => void
  readonly #writers = new Set<string>()
  #isVoid = false
  #isReading = false

  constructor(
    url: string,
    events: {
      readonly change: (found: Found) => void
      readonly fault: (message: string) => void
    }
  ) {
    this.#url = url
    this.#onChange = events.change
    this.#onFault = events.fault
    void this.#readAll()
  }

  /** Somebody has written: their newest block will soon be read. */
  wrote(user: string): void {
    this.#writers.add(user)
    if (!this.#isReading) void this.#readSoon()
  }

  /** What was read is void. */
  reset(): void {
    this.#isVoid = true
    if (!this.#isReading) void this.#readSoon()
  }

  async #readSoon(): Promise<void> {
    this.#isReading = true
    await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
    const users = [...this.#writers]
    this.#writers.clear()
    const newest = users.map(user => this.#newestOf(user))
    const isVoid = this.#isVoid
    this.#isVoid = false
    if (isVoid || users.length > USERS_MAX || newest.includes(undefined)) await this.#readAll()
    else {
      await this.#tried(async () => {
        for (const [index, user] of users.entries()) {
          // A cursor names the block before the wanted ones.
          const newestBlock = newest[index] ?? 0
          const after = newestBlock === 0 ? undefined : `${user}.${newestBlock - 1}`
          await this.#page(this.#bricks, after, after === undefined ? PAGE : 10)
        }
      })
    }
    this.#isReading = false
    if (this.#writers.size > 0 || this.#isVoid) void this.#readSoon()
  }

  async #readAll(): Promise<void> {
    await this.#tried(async () => {
      const bricks = new Map<string, Brick>()
      let after: string | undefined
      do after = await this.#page(bricks, after, PAGE)
      while (after !== undefined)
      this.#bricks = bricks
    })
  }

  async #tried(read: () => Promise<void>): Promise<void> {
    try {
      await read()
      this.#onChange({ bricks: [...this.#bricks.values()], blockLength: this.#blockLength })
    } catch (error) {
      this.#onFault(error instanceof Error ? error.message : String(error))
    }
  }

  async #page(
    bricks: Map<string, Brick>,
    after: string | undefined,
    limit: number
  ): Promise<string | undefined> {
    const query = new URLSearchParams({
      limit: String(limit),
      ...(after === undefined ? {} : { after })
    })
    const response = await fetch(`${this.#url}?${query}`)
    if (!response.ok) throw new Error(((await response.json()) as { message: string }).message)
    const { blockLength, blocks, next } = (await response.json()) as BlocksAnswer
    this.#blockLength = blockLength
    for (const { key, slot, messages } of blocks) {
      const tag = parseTag(key.slice(key.indexOf('{') + 1, -1))
      if (tag === undefined) throw new Error(`${key} is not the key of a block`)
      bricks.set(key, { key, user: tag.user, block: tag.block, slot, messages })
    }
    return limit < PAGE ? undefined : (next ?? undefined)
  }

  #newestOf(user: string): number | undefined {
    let newest: number | undefined
    for (const brick of this.#bricks.values()) {
      if (brick.user === user) newest = Math.max(newest ?? 0, brick.block)
    }
    return newest
  }
}
