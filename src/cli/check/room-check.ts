// Checks one room: its log from 1 to the head, and every block against the log's references to it.
// Invariant: the result is right during writing, sealing and resharding. The head is noted first:
// what is committed later is not a violation, and entries of blocks beyond it count as young.
// Memory is bounded by REFERENCES_MAX and the number of users, however long the room is.
import { type Cluster } from '../../redis/cluster.js'
import { blockKey, changedKey, goneKey, roomSlot, segmentKey } from '../../store/keys.js'
import { parseTag } from '../../message/block-tag.js'
import { slotOf } from '../../redis/slots.js'
import { REMOVE_ENTRIES } from '../../store/block-scripts.js'
import { type Deletion, type Log } from '../../store/log.js'
import { type LogEntry, parseEntries } from '../../store/pieces.js'
import { parseReference, timeOf, type Reference } from '../../message/message.js'
import { forEachAtOnce } from './at-once.js'
import { BlockChanges } from './block-changes.js'
import { Counters } from './counters.js'
import { entryIds } from './entry-ids.js'
import { Expiries } from './expiries.js'
import { Findings, type Finding } from './finding.js'
import { Lists } from './lists.js'
import { type EntryId, entryIdOf, Merge, passOf, type Referred, References } from './references.js'
import { Segments } from './segments.js'
import { type RoomKeys } from './survey.js'
import { walk } from './walk.js'

export type RoomCheckOptions = {
  readonly isRepairing: boolean
  readonly orphanAgeMs: number
  /** How long after a commit its counting may take. */
  readonly settleMs: number
  /** Finishes the deletion of a room. */
  readonly clean: (room: string) => Promise<void>
  /** Finishes a sealing that was interrupted. */
  readonly seal: (room: string) => Promise<void>
  /** References kept in memory at a time. */
  readonly referencesMax: number
  /** Called with the number of entries looked at since the last call; `workOf` gives the total. */
  readonly onProgress: (entries: number) => void
}

export type RoomReport = {
  readonly room: string
  readonly head: number
  readonly users: number
  readonly blocks: number
  readonly segments: number
  readonly findings: readonly Finding[]
}

/** How long after a commit a room may take to reach its writer's list, if nothing is down. */
const LISTED_MS = 1000
const BLOCKS_AT_ONCE = 16

export class RoomCheck {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #room: string
  readonly #keys: RoomKeys
  readonly #options: RoomCheckOptions
  readonly #findings = new Findings()
  readonly #counters: Counters
  readonly #startedMs = Date.now()
  readonly #expiries: Expiries
  #deletion: Deletion = { seq: 0, ms: 0 }
  #isBeingDeleted = false
  #hole: { readonly first: number; last: number } | undefined

  constructor(cluster: Cluster, log: Log, room: string, keys: RoomKeys, options: RoomCheckOptions) {
    this.#cluster = cluster
    this.#log = log
    this.#room = room
    this.#keys = keys
    this.#options = options
    this.#expiries = new Expiries(cluster, log, room, options.isRepairing)
    this.#counters = new Counters(cluster, log, room)
  }

  async run(): Promise<RoomReport> {
    const { isRepairing, settleMs } = this.#options
    await this.#finishDeletion()
    const head = (await this.#log.head(this.#room))?.seq ?? 0
    this.#deletion = await this.#log.deletion(this.#room)
    await this.#checkLeftoverSegments()
    const passes = passesFor(head, this.#options.referencesMax)
    let blocks = 0
    for (let pass = 0; pass < passes; pass++) {
      const references = await this.#walk(head, pass, passes)
      blocks += await this.#checkBlocks(references, pass, passes)
    }
    // If the log has a hole, it is unknown whose messages are missing.
    if (this.#findings.countOf('hole') + this.#findings.countOf('no-reference') === 0) {
      await this.#counters.check(head, settleMs, isRepairing, this.#findings)
      await new Lists(this.#cluster).check(
        this.#room,
        this.#counters.members,
        { settleMs: LISTED_MS, isRepairing },
        this.#findings
      )
    }
    await new Segments(this.#cluster, this.#log, this.#room).check(
      this.#keys.segments,
      isRepairing ? () => this.#options.seal(this.#room) : undefined,
      this.#findings
    )
    await this.#checkSegmentExpiries()
    return {
      room: this.#room,
      head,
      users: this.#counters.userCount,
      blocks,
      segments: this.#keys.segments.size,
      findings: this.#findings.list()
    }
  }

  // Keeps the references to the blocks of this pass. The first pass also checks the log itself.
  async #walk(head: number, pass: number, passes: number): Promise<References> {
    const references = new References()
    const first = await this.#log.first(this.#room)
    let expected = first
    for await (const page of walk(this.#log, this.#room, first, head)) {
      for (const entry of page) {
        const reference = this.#referenceOf(entry, pass === 0)
        if (reference !== undefined && passOf(reference.tag, passes) === pass) {
          if (reference.change === undefined) references.add(reference, entry.seq)
          else references.addChange(reference, reference.change)
        }
        if (reference !== undefined && reference.change === undefined && pass === 0) {
          this.#counters.add(reference.user)
        }
        if (pass === 0 && entry.seq > expected) this.#addHole(expected, entry.seq - 1)
        expected = entry.seq + 1
      }
      this.#options.onProgress(page.length)
    }
    // The log ends before its former head: it was rewound in the meantime.
    if (pass === 0 && expected <= head) this.#addHole(expected, head)
    if (pass === 0) this.#endHole()
    return references
  }

  #referenceOf({ seq, reference }: LogEntry, isReporting: boolean): Reference | undefined {
    if (reference === undefined) {
      if (isReporting) this.#addHole(seq, seq)
      return undefined
    }
    try {
      return parseReference(reference)
    } catch {
      if (isReporting) this.#findings.add('no-reference', `${seq}: ${JSON.stringify(reference)}`)
      return undefined
    }
  }

  // Consecutive missing sequences are one hole.
  #addHole(first: number, last: number): void {
    if (this.#hole !== undefined && this.#hole.last + 1 === first) {
      this.#hole.last = last
      return
    }
    this.#endHole()
    this.#hole = { first, last }
  }

  #endHole(): void {
    if (this.#hole === undefined) return
    const { first, last } = this.#hole
    this.#findings.add(
      'hole',
      first === last ? String(first) : `${first} to ${last}`,
      last - first + 1
    )
    this.#hole = undefined
  }

  async #checkBlocks(references: References, pass: number, passes: number): Promise<number> {
    const tags = new Set(references.tags)
    for (const tag of this.#keys.tags) if (passOf(tag, passes) === pass) tags.add(tag)
    await forEachAtOnce(tags, BLOCKS_AT_ONCE, tag => this.#checkBlock(tag, references))
    return tags.size
  }

  async #checkBlock(tag: string, references: References): Promise<void> {
    const referred = references.to(tag)
    const merge = new Merge(referred)
    const key = blockKey(this.#room, tag)
    const missing: Referred[] = []
    const present = new Set<string>()
    for await (const ids of entryIds(this.#cluster, key)) {
      const { lost, doubled, unreferred } = merge.take(ids.map(entryIdOf))
      missing.push(...lost)
      for (const id of ids) present.add(id)
      for (const { again, first } of doubled) {
        this.#findings.add(
          'doubled',
          `${again.seq}: ${key} ${again.ms}-${again.n}, as ${first.seq}`
        )
      }
      await this.#checkUnreferred(tag, unreferred)
    }
    if (this.#isOfFormerGeneration(tag)) return await this.#reportLeftover(changedKey(key))
    const changes = new BlockChanges(this.#cluster, this.#log, this.#room, tag, {
      isRepairing: this.#options.isRepairing,
      beforeMs: this.#startedMs - this.#options.settleMs
    })
    await changes.read()
    for (const { seq, ms, n } of missing) {
      if (!changes.has(`${ms}-${n}`)) this.#findings.add('lost', `${seq}: ${key} ${ms}-${n}`)
    }
    await changes.check(referred, present, references.changesOf(tag), this.#findings)
    await this.#checkExpiries(key, present, changes.newestMs)
    this.#options.onProgress(referred.length)
  }

  // Only segments that existed when the check began: one that was sealed since has its expiry.
  async #checkSegmentExpiries(): Promise<void> {
    const { segmentLength } = this.#log
    for (const segment of this.#keys.segments) {
      const [first, last] = [segment * segmentLength + 1, (segment + 1) * segmentLength]
      const key = segmentKey(this.#room, segment)
      const newestMs = async (): Promise<number> => {
        const entries = parseEntries(
          await this.#cluster.read(slotOf(key), ['XRANGE', key, `0-${first}`, `0-${last}`])
        )
        return Math.max(...entries.map(({ reference }) => timeOf(reference)))
      }
      await this.#expiries.check(key, newestMs, this.#findings)
    }
  }

  async #checkExpiries(
    block: string,
    present: ReadonlySet<string>,
    changedMs: number | undefined
  ): Promise<void> {
    // A block without entries is as old as its changes.
    const writtenMs = (): number =>
      Math.max(changedMs ?? 0, ...[...present].map(id => entryIdOf(id).ms))
    await this.#expiries.check(block, writtenMs, this.#findings)
    if (changedMs === undefined) return
    await this.#expiries.check(changedKey(block), () => changedMs, this.#findings)
  }

  #isOfFormerGeneration(tag: string): boolean {
    return parseTag(tag)?.generation !== this.#deletion.seq
  }

  // A deletion that is not finished: its process has died, or is still at work if it is young.
  async #finishDeletion(): Promise<void> {
    const slot = roomSlot(this.#room)
    if ((await this.#cluster.command(slot, ['GET', goneKey(this.#room)])) === null) return
    const { ms } = await this.#log.deletion(this.#room)
    this.#isBeingDeleted = ms > this.#startedMs - this.#options.settleMs
    if (this.#isBeingDeleted) return
    this.#findings.add('half-deleted', this.#room)
    if (!this.#options.isRepairing) return
    await this.#options.clean(this.#room)
    this.#findings.mend('half-deleted', 1)
  }

  // Segments that were being sealed when the room was deleted.
  async #checkLeftoverSegments(): Promise<void> {
    const firstKept = Math.floor((this.#deletion.seq - 1) / this.#log.segmentLength)
    for (const segment of this.#keys.segments) {
      if (segment >= firstKept) continue
      this.#keys.segments.delete(segment)
      await this.#reportLeftover(segmentKey(this.#room, segment))
    }
  }

  async #reportLeftover(key: string): Promise<void> {
    const slot = slotOf(key)
    if (this.#isBeingDeleted) return
    if ((await this.#cluster.command(slot, ['EXISTS', key])) === 0) return
    this.#findings.add('leftover', key)
    if (!this.#options.isRepairing) return
    await this.#cluster.command(slot, ['UNLINK', key])
    this.#findings.mend('leftover', 1)
  }

  async #checkUnreferred(tag: string, ids: readonly EntryId[]): Promise<void> {
    const key = blockKey(this.#room, tag)
    const { orphanAgeMs, settleMs } = this.#options
    // Nobody can commit an entry in a block of a former generation any more.
    const isLeftover = this.#isOfFormerGeneration(tag)
    const kind = isLeftover ? 'leftover' : 'orphan'
    // The log's entries from before the horizon were not read.
    const expiredMs = isLeftover ? 0 : (this.#log.horizonMs(this.#room) ?? 0)
    const youngMs = this.#startedMs - (isLeftover ? settleMs : orphanAgeMs)
    const orphans = ids
      .filter(({ ms }) => ms < youngMs && ms >= expiredMs)
      .map(({ ms, n }) => `${ms}-${n}`)
    for (const { ms, n } of ids) {
      // Newer entries may belong to commits beyond the head that was noted.
      if (ms < this.#startedMs && ms >= expiredMs) {
        this.#findings.add(ms < youngMs ? kind : 'uncommitted', `${key} ${ms}-${n}`)
      }
    }
    if (orphans.length === 0 || !this.#options.isRepairing) return
    // A block from which messages were deleted stays even if it is empty: Redis remembers the
    // deletions in it, so ENSURE, which puts back lost texts, does not put back a deleted one.
    const slot = slotOf(key)
    const stays = (await this.#cluster.command(slot, ['EXISTS', changedKey(key)])) !== 0
    const remove = stays ? ['XDEL'] : ['EVALSHA', REMOVE_ENTRIES.sha, '1']
    await this.#cluster.command(slot, [...remove, key, ...orphans])
    this.#findings.mend(kind, orphans.length)
  }
}

const passesFor = (head: number, referencesMax: number): number =>
  Math.max(1, Math.ceil(head / referencesMax))

/** How many entries the check of a room looks at: its log once per pass, and each block once. */
export const workOf = (head: number, referencesMax: number): number =>
  head * (passesFor(head, referencesMax) + 1)
