// Writes texts to blocks, step 2 of a write, and puts back what a failover has taken. Invariant: a
// text whose room was deleted does not stay. Whoever deletes a room cleans its blocks only once, so
// putting a text back looks for a deletion before and after.
import { setTimeout as sleep } from 'node:timers/promises'
import { throwUnlessLost, untilAcknowledged } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { type Written } from '../redis/node-pipeline.js'
import { slotOf } from '../redis/slots.js'
import { APPEND, APPEND_EXPIRING, ENSURE, ENSURE_BY_COPY, REMOVE_ENTRIES } from './block-scripts.js'
import { blockKey, changedKey, copyKey } from './keys.js'
import { parseTag } from '../message/block-tag.js'
import { type Log } from './log.js'
import { type Retention } from './retention.js'
import { NEEDS_COPY } from './scripts.js'

/** A text in a block: `tag` names the block, `id` is the entry's. */
export type BlockText = {
  readonly room: string
  readonly tag: string
  readonly id: string
  readonly text: string
  /** On the clock of performance.now(). */
  readonly deadline: number
}

export type BlockWriterOptions = {
  readonly retention: Retention
  readonly onFault: (what: 'put-back' | 'withdraw', error: unknown) => void
}

/**
 * If a POST ends with an error, its text may be lost although the log refers to it. The process
 * then tries to put the text back for this long, for at most this many texts at once.
 */
const PUT_BACK_MS = 60_000
const PUT_BACK_PAUSE_MS = 1_000
const PUT_BACK_MAX = 1_000

export class BlockWriter {
  readonly #cluster: Cluster
  readonly #log: Pick<Log, 'deletion'>
  readonly #options: BlockWriterOptions
  #puttingBack = 0

  constructor(cluster: Cluster, log: Pick<Log, 'deletion'>, options: BlockWriterOptions) {
    this.#cluster = cluster
    this.#log = log
    this.#options = options
  }

  /**
   * Appends texts to one block, in one command.
   * @returns in `reply` the id of the first entry; the ids of the others follow it (entryIdAfter)
   * @throws DialogsError as Cluster.write
   */
  append(room: string, tag: string, texts: readonly string[], deadline: number): Promise<Written> {
    const key = blockKey(room, tag)
    return this.#cluster.write(slotOf(key), this.#appendArgs(key, room, texts), deadline)
  }

  #appendArgs(key: string, room: string, texts: readonly string[]): string[] {
    const { retention } = this.#options
    const expiryMs = retention.expiryMs(room, Date.now())
    if (expiryMs !== undefined) {
      const trimMs = String(retention.trimMs(room))
      return ['EVALSHA', APPEND_EXPIRING.sha, '1', key, String(expiryMs), trimMs, ...texts]
    }
    const [text = ''] = texts
    return texts.length === 1
      ? ['XADD', key, '*', 't', text]
      : ['EVALSHA', APPEND.sha, '1', key, ...texts]
  }

  /**
   * Makes sure that the text of a committed message is on its block's master and on a replica. Puts
   * it back if a failover has taken it, unless its room was deleted.
   * @throws DialogsError as Cluster.write
   */
  async ensure({ room, tag, id, text, deadline }: BlockText): Promise<void> {
    const key = blockKey(room, tag)
    const write = (args: string[]): Promise<Written> =>
      this.#cluster.write(slotOf(key), ['EVALSHA', ...args, id, text], deadline)
    if (await this.#isGone(room, tag)) return
    await untilAcknowledged(async () => {
      const ensured = await write([ENSURE.sha, '1', key])
      return ensured.reply === NEEDS_COPY
        ? await write([ENSURE_BY_COPY.sha, '3', key, copyKey(key), changedKey(key)])
        : ensured
    }, deadline)
    const expiryMs = this.#options.retention.expiryMs(room, Date.now())
    if (expiryMs !== undefined) {
      await this.#cluster.command(slotOf(key), ['PEXPIREAT', key, String(expiryMs)], deadline)
    }
    if (await this.#isGone(room, tag)) await this.#remove(key, id)
  }

  /**
   * Puts back committed texts whose acknowledgement failed with `failure`: the log refers to them
   * already, so readers would miss whatever a failover has taken. If that does not work before the
   * deadline, it goes on in the background.
   * @throws `failure` if it was not a lost connection; otherwise DialogsError as Cluster.write
   */
  async putBack(texts: readonly BlockText[], failure: unknown): Promise<void> {
    try {
      for (const { deadline } of texts) throwUnlessLost(failure, deadline)
      await Promise.all(texts.map(text => this.ensure(text)))
    } catch (error) {
      for (const text of texts) void this.#putBackLater(text)
      throw error
    }
  }

  /** Takes an entry out of its block because it was not committed. Nobody waits for it. */
  withdraw(room: string, tag: string, id: string): void {
    const key = blockKey(room, tag)
    this.#unawaited(this.#cluster.command(slotOf(key), ['XDEL', key, id]))
  }

  /**
   * Takes an entry out of a block whose room was deleted, and removes the block with its last
   * entry: the append may have created it anew after the room was cleaned. Nobody waits for it.
   */
  withdrawOutdated(room: string, tag: string, id: string): void {
    this.#unawaited(this.#remove(blockKey(room, tag), id))
  }

  #unawaited(withdrawal: Promise<unknown>): void {
    withdrawal.catch(error => {
      this.#options.onFault('withdraw', error)
    })
  }

  async #putBackLater(text: BlockText): Promise<void> {
    if (this.#puttingBack >= PUT_BACK_MAX) return
    this.#puttingBack++
    const deadline = performance.now() + PUT_BACK_MS
    for (;;) {
      try {
        await this.ensure({ ...text, deadline })
        break
      } catch (error) {
        if (performance.now() + PUT_BACK_PAUSE_MS > deadline) {
          this.#options.onFault('put-back', error)
          break
        }
        await sleep(PUT_BACK_PAUSE_MS, undefined, { ref: false })
      }
    }
    this.#puttingBack--
  }

  async #isGone(room: string, tag: string): Promise<boolean> {
    return (await this.#log.deletion(room)).seq !== parseTag(tag)?.generation
  }

  async #remove(key: string, id: string): Promise<void> {
    await this.#cluster.command(slotOf(key), ['EVALSHA', REMOVE_ENTRIES.sha, '1', key, id])
  }
}
