// Compares a room's counters with its log. The log is reduced to three numbers per user. Invariant:
// the result is right even while writers go on. A commit updates the counter in the same step, so a
// counter is between what was in the log before it was read and what is in the log afterwards. Only
// while the room's slot moves does the counter follow later; the check waits for that.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cluster } from '../../redis/cluster.js'
import { scanHash } from '../../redis/scan-hash.js'
import {
  leftKey,
  leftPartKey,
  PARTS_MARK,
  roomSlot,
  USERS_PARTS,
  usersKey,
  usersPart,
  usersPartKey
} from '../../store/keys.js'
import { LEFT_MAX } from '../../store/members.js'
import { CORRECT_COUNT } from '../../store/check-scripts.js'
import { type Log } from '../../store/log.js'
import { Users } from '../../store/users.js'
import { parseReference, timeOf } from '../../message/message.js'
import { type Findings } from './finding.js'
import { walk } from './walk.js'

type Count = {
  /** Messages in the log, up to the head at which the check started. */
  logged: number
  /** Messages in the log after that head. */
  later: number
  /** The sum of what the counters of members and of removed users say. */
  counted: number
  /** The value of the one counter that a correction would change. */
  direct?: number
  /** The key of this counter, if it is not the members' key. */
  leftKey?: string | undefined
  isMember?: boolean
}

const SCAN_COUNT = 1000
const PAUSE_MS = 100

export class Counters {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #room: string
  readonly #counts = new Map<string, Count>()
  #isSplit = false
  #hasExpired = false

  constructor(cluster: Cluster, log: Log, room: string) {
    this.#cluster = cluster
    this.#log = log
    this.#room = room
  }

  get userCount(): number {
    return this.#counts.size
  }

  /** The members, as last read. */
  get members(): string[] {
    return [...this.#counts].filter(([, count]) => count.isMember).map(([user]) => user)
  }

  /** Counts a message of the log. */
  add(user: string): void {
    this.#countOf(user).logged++
  }

  /**
   * Compares. Call it once the log was added up to `head`.
   * @param settleMs how long after a commit its counting may take
   */
  async check(
    head: number,
    settleMs: number,
    isRepairing: boolean,
    findings: Findings
  ): Promise<void> {
    const until = performance.now() + settleMs
    this.#hasExpired = (await this.#log.horizon(this.#room)).reason === 'trimmed'
    if (isRepairing) await this.#finishSplitting()
    for (let walked = head; ;) {
      await this.#read()
      const newest = await this.#log.head(this.#room)
      for await (const page of walk(this.#log, this.#room, walked + 1, newest?.seq ?? 0)) {
        for (const { reference } of page) {
          if (reference === undefined) continue
          const { user, change } = parseReference(reference)
          if (change === undefined) this.#countOf(user).later++
        }
      }
      walked = Math.max(walked, newest?.seq ?? 0)
      const wrong = [...this.#counts].filter(
        ([, count]) => differenceOf(count, this.#hasExpired) !== 0
      )
      const quietMs = newest === undefined ? Infinity : Date.now() - timeOf(newest.reference)
      if (wrong.length === 0) return
      if (quietMs > settleMs || performance.now() > until) {
        return await this.#tell(wrong, isRepairing, findings)
      }
      await sleep(PAUSE_MS)
    }
  }

  async #tell(
    wrong: ReadonlyArray<readonly [user: string, count: Count]>,
    isRepairing: boolean,
    findings: Findings
  ): Promise<void> {
    for (const [user, count] of wrong) {
      findings.add(
        'counter',
        `${user}: counted ${count.counted}, in the log ${count.logged + count.later}`
      )
      if (isRepairing && (await this.#correct(user, count))) findings.mend('counter', 1)
    }
  }

  // Corrects by a difference, and only if nobody else has counted in the meantime. The next check
  // finds what was not corrected now.
  async #correct(user: string, count: Count): Promise<boolean> {
    const membersKey = this.#isSplit
      ? usersPartKey(this.#room, usersPart(user))
      : usersKey(this.#room)
    // Correcting the count of a removed user must not make them a member again.
    const key = count.leftKey ?? membersKey
    const args = [user, String(count.direct ?? 0), String(differenceOf(count, this.#hasExpired))]
    return (
      (await this.#cluster.command(roomSlot(this.#room), [
        'EVALSHA',
        CORRECT_COUNT.sha,
        '1',
        key,
        ...args
      ])) === 1
    )
  }

  // A process that dies while it splits a large room leaves users in the room's first key. That is
  // valid, but a counter can only be corrected in a single key, so the split is finished first.
  async #finishSplitting(): Promise<void> {
    const isSplit = await this.#cluster.read(roomSlot(this.#room), [
      'HGET',
      usersKey(this.#room),
      PARTS_MARK
    ])
    if (isSplit !== null) await new Users(this.#cluster, () => undefined).split(this.#room)
  }

  // A user's count is the sum of the first key and the user's part, plus what was kept when they
  // were removed. A user who moves between the two reads is seen not at all or twice, so the check
  // reads again. A cursor of HSCAN belongs to one node; if the room has moved, the scan starts
  // again.
  async #read(): Promise<void> {
    const slot = roomSlot(this.#room)
    for (
      let owner: string | undefined;
      owner !== this.#cluster.topology.ownerOf(slot) || owner === undefined;
    ) {
      owner = this.#cluster.topology.ownerOf(slot)
      for (const count of this.#counts.values()) {
        count.counted = 0
        count.direct = 0
        count.isMember = false
        count.leftKey = undefined
      }
      await this.#readLeft()
      const direct = await this.#scan(usersKey(this.#room))
      this.#isSplit = direct.delete(PARTS_MARK)
      for (const [user, counted] of direct) this.#addMember(user, counted)
      for (let part = 0; this.#isSplit && part < USERS_PARTS; part++) {
        for (const [user, counted] of await this.#scan(usersPartKey(this.#room, part))) {
          this.#addMember(user, counted)
        }
      }
    }
  }

  #addMember(user: string, counted: number): void {
    const count = this.#countOf(user)
    count.direct = (count.leftKey === undefined ? (count.direct ?? 0) : 0) + counted
    count.leftKey = undefined
    count.isMember = true
    count.counted += counted
  }

  // Read before the members: a user who comes back in between is counted twice, and then read
  // again.
  async #readLeft(): Promise<void> {
    const left = await this.#scan(leftKey(this.#room))
    const keys = [leftKey(this.#room)]
    if (left.size >= LEFT_MAX) {
      for (let part = 0; part < USERS_PARTS; part++) keys.push(leftPartKey(this.#room, part))
    }
    for (const key of keys) {
      for (const [user, counted] of key === keys[0] ? left : await this.#scan(key)) {
        const count = this.#countOf(user)
        count.counted += counted
        count.direct = counted
        count.leftKey = key
      }
    }
  }

  // HSCAN may return a field twice; the later one counts.
  async #scan(key: string): Promise<Map<string, number>> {
    const counts = new Map<string, number>()
    const slot = roomSlot(this.#room)
    for await (const fields of scanHash(args => this.#cluster.read(slot, args), key, SCAN_COUNT)) {
      for (const [user, count] of fields) counts.set(user, Number(count))
    }
    return counts
  }

  #countOf(user: string): Count {
    const known = this.#counts.get(user)
    if (known !== undefined) return known
    const count = { logged: 0, later: 0, counted: 0 }
    this.#counts.set(user, count)
    return count
  }
}

/**
 * What must be added to a counter to make it possible; 0 if it is possible already. If messages
 * have expired, the counter includes them, and may have any higher value.
 */
export function differenceOf({ logged, later, counted }: Count, hasExpired = false): number {
  if (counted < logged) return logged - counted
  if (hasExpired) return 0
  return Math.min(0, logged + later - counted)
}
