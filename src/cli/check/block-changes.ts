// Compares the changes beside a block with the block and with the changes that the log announces. A
// change is applied first and announced then, so a crash leaves one that was never announced.
// Invariant: the result is right while writers are at work. A change made during the check is left
// alone. If two reads seem to contradict each other, both are made again in one step.
import { type Cluster } from '../../redis/cluster.js'
import { slotOf } from '../../redis/slots.js'
import { LOOK } from '../../message/publication.js'
import { formatChange, type ChangeMark } from '../../message/message.js'
import { Committer } from '../../store/committer.js'
import { blockKey, changedKey, roomChannel, roomSlot } from '../../store/keys.js'
import { parseTag } from '../../message/block-tag.js'
import { type Log } from '../../store/log.js'
import { CHANGE } from '../../store/block-scripts.js'
import { CHANGE_MARKS, REMOVE_CHANGED } from '../../store/check-scripts.js'
import { Users } from '../../store/users.js'
import { type Findings } from './finding.js'
import { entryIdOf, type Referred } from './references.js'

type Mark = Omit<ChangeMark, 'seq'>

const WRITE_MS = 10_000

export type BlockChangesOptions = {
  readonly isRepairing: boolean
  /** Changes made after this time are still in progress, or came after the log was read. */
  readonly beforeMs: number
}

export class BlockChanges {
  readonly #cluster: Cluster
  readonly #room: string
  readonly #tag: string
  readonly #options: BlockChangesOptions
  readonly #committer: Committer
  readonly #marks = new Map<string, Mark>()

  constructor(cluster: Cluster, log: Log, room: string, tag: string, options: BlockChangesOptions) {
    this.#cluster = cluster
    this.#room = room
    this.#tag = tag
    this.#options = options
    this.#committer = new Committer(cluster, log, new Users(cluster, () => undefined), {
      groupLengthMax: 1,
      idempotencyTtlS: 1,
      onFault: () => undefined
    })
  }

  /** Reads the changes beside the block. Call it after the block itself was read. */
  async read(): Promise<void> {
    // CHANGE_MARKS answers id, n, ms, `t` or `d`, id …
    const flat = (await this.#run(
      CHANGE_MARKS.sha,
      '1',
      changedKey(this.#key)
    )) as readonly string[]
    for (let index = 0; index < flat.length; index += 4) {
      const [id = '', n, ms, kind] = flat.slice(index, index + 4)
      this.#marks.set(id, { n: Number(n), ms: Number(ms), isDeletion: kind === 'd' })
    }
  }

  has(id: string): boolean {
    return this.#marks.has(id)
  }

  /** When the newest change was made; undefined if there is none. */
  get newestMs(): number | undefined {
    const times = [...this.#marks.values()].map(({ ms }) => ms)
    return times.length === 0 ? undefined : Math.max(...times)
  }

  /**
   * @param referred the messages of the block that the log refers to
   * @param present the entries that the block has
   * @param told the last change of each message that the log announces, by entry id
   */
  async check(
    referred: readonly Referred[],
    present: ReadonlySet<string>,
    told: ReadonlyMap<string, ChangeMark>,
    findings: Findings
  ): Promise<void> {
    for (const { ms, n, seq } of referred) {
      const id = `${ms}-${n}`
      const mark = this.#marks.get(id)
      const last = told.get(id)
      if (mark !== undefined && present.has(id)) await this.#checkHalf(seq, id, findings)
      if (mark !== undefined && (last?.n ?? 0) < mark.n) {
        await this.#checkUntold(seq, id, mark, findings)
      }
      const isThere = mark === undefined ? present.has(id) : !mark.isDeletion
      if (last?.isDeletion === true && isThere) {
        await this.#checkUndone(seq, id, last, findings)
      }
    }
  }

  async #checkHalf(seq: number, id: string, findings: Findings): Promise<void> {
    const isRemoving = this.#options.isRepairing ? '1' : '0'
    const found = await this.#run(
      REMOVE_CHANGED.sha,
      '2',
      this.#key,
      changedKey(this.#key),
      id,
      isRemoving
    )
    if (found !== 1) return
    findings.add('half-changed', `${seq}: ${this.#key} ${id}`)
    if (this.#options.isRepairing) findings.mend('half-changed', 1)
  }

  async #checkUntold(seq: number, id: string, mark: Mark, findings: Findings): Promise<void> {
    if (mark.ms >= this.#options.beforeMs) return
    findings.add('untold', `${seq}: ${this.#key} ${id}, change ${mark.n}`)
    if (!this.#options.isRepairing) return
    const { durable } = await this.#committer.commit(
      this.#room,
      {
        references: [formatChange(this.#tag, id, { seq, ...mark })],
        counts: new Map(),
        generation: parseTag(this.#tag)?.generation ?? 0
      },
      performance.now() + WRITE_MS
    )
    await durable
    await this.#cluster.command(roomSlot(this.#room), ['SPUBLISH', roomChannel(this.#room), LOOK])
    findings.mend('untold', 1)
  }

  async #checkUndone(
    seq: number,
    id: string,
    { ms }: ChangeMark,
    findings: Findings
  ): Promise<void> {
    if (ms >= this.#options.beforeMs || entryIdOf(id).ms > ms) return
    findings.add('undone', `${seq}: ${this.#key} ${id}`)
    if (!this.#options.isRepairing) return
    const { replicated } = await this.#cluster.write(slotOf(this.#key), [
      'EVALSHA',
      CHANGE.sha,
      '2',
      this.#key,
      changedKey(this.#key),
      id,
      'check',
      'd',
      '',
      String(ms)
    ])
    await replicated
    findings.mend('undone', 1)
  }

  async #run(...args: string[]): Promise<unknown> {
    return await this.#cluster.command(slotOf(this.#key), ['EVALSHA', ...args])
  }

  get #key(): string {
    return blockKey(this.#room, this.#tag)
  }
}
