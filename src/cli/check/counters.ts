// A room's counters against its log. What is kept of the log is three numbers a user. Invariant:
// right while writers go on. A commit counts in the same step, so a counter is never less than what
// was in the log before it was read, nor more than what is in the log after; only while the room's
// slot moves does it come later, and is waited for.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cluster } from '../../redis/cluster.js'
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
import { CORRECT_COUNT } from '../../store/scripts.js'
import { type Log } from '../../store/log.js'
import { Users } from '../../store/users.js'
import { parseReference } from '../../message/message.js'
import { type Findings } from './finding.js'
import { walk } from './walk.js'

type Count = {
  /** In the log up to the head that the check began with. */
  logged: number
  /** In the log since. */
  later: number
  /** By the counters of members, and of users who were removed. */
  counted: number
  /** Of that, what the counter says that a correction would change. */
  direct?: number
  /** The key that this counter is in, where it is not that of the members. */
  leftKey?: string | undefined
}

const SCAN_COUNT = 1000
const PAUSE_MS = 100

export class Counters {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #room: string
  readonly #counts = new Map<string, Count>()
  #isSplit = false

  constructor(cluster: Cluster, log: Log, room: string) {
    this.#cluster = cluster
    this.#log = log
    this.#room = room
  }

  get userCount(): number {
    return this.#counts.size
  }

  /** The log has a message of a user. */
  add(user: string): void {
    this.#countOf(user).logged++
  }

  /**
   * Compares, once the log was added up to `head`.
   * @param settleMs how long after a commit its counting may come at the most
   */
  async check(
    head: number,
    settleMs: number,
    isRepairing: boolean,
    findings: Findings
  ): Promise<void> {
    const until = performance.now() + settleMs
    if (isRepairing) await this.#finishSplitting()
    for (let walked = head; ;) {
      await this.#read()
      const newest = await this.#log.head(this.#room)
      for await (const page of walk(this.#log, this.#room, walked + 1, newest?.seq ?? 0)) {
        for (const { reference } of page) {
          if (reference !== undefined) this.#countOf(parseReference(reference).user).later++
        }
      }
      walked = Math.max(walked, newest?.seq ?? 0)
      const wrong = [...this.#counts].filter(([, count]) => differenceOf(count) !== 0)
      const quietMs =
        newest?.reference === undefined
          ? Infinity
          : Date.now() - parseReference(newest.reference).ms
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

  // By a difference, and only while nobody else counts: what is not corrected now is found by the
  // next check.
  async #correct(user: string, count: Count): Promise<boolean> {
    const membersKey = this.#isSplit
      ? usersPartKey(this.#room, usersPart(user))
      : usersKey(this.#room)
    // Who was removed is not made a member again.
    const key = count.leftKey ?? membersKey
    const args = [user, String(count.direct ?? 0), String(differenceOf(count))]
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

  // What a process left in the first key of a large room, when it died while it split it: nothing
  // that is wrong, but corrected is a counter only where it lies in one key.
  async #finishSplitting(): Promise<void> {
    const isSplit = await this.#cluster.read(roomSlot(this.#room), [
      'HGET',
      usersKey(this.#room),
      PARTS_MARK
    ])
    if (isSplit !== null) await new Users(this.#cluster, () => undefined).split(this.#room)
  }

  // A user's count is the sum of what the first key and their part have, and what is kept of it if
  // they were removed. A user who moves over
  // between the two reads is not found, or twice: then the check looks again. The cursor of HSCAN
  // is of one node; when the room has moved, it begins anew.
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
    count.counted += counted
  }

  // Before the members: who comes back meanwhile is counted twice, and looked at again.
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

  // HSCAN may tell a field twice: the later one counts.
  async #scan(key: string): Promise<Map<string, number>> {
    const counts = new Map<string, number>()
    let cursor = '0'
    do {
      // HSCAN answers the next cursor, and field, value, field, value …
      const [next, flat] = (await this.#cluster.read(roomSlot(this.#room), [
        'HSCAN',
        key,
        cursor,
        'COUNT',
        String(SCAN_COUNT)
      ])) as readonly [string, readonly string[]]
      for (let index = 0; index < flat.length; index += 2) {
        counts.set(flat[index] ?? '', Number(flat[index + 1]))
      }
      cursor = next
    } while (cursor !== '0')
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

/** What has to be added to a counter so that it may be right; 0 when it may be. */
export function differenceOf({ logged, later, counted }: Count): number {
  if (counted < logged) return logged - counted
  return Math.min(0, logged + later - counted)
}
