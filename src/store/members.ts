// Membership of rooms. It is stored with the room, in `room:{<room>}:users`, where writers are
// counted; a user with 0 messages was invited. Each person's own list of rooms follows it.
//
//    steps of an invitation           a crash right after it leaves
//    1 JOIN at the room               a member who does not see the room in their list
//    2 ADD_DIALOG at the user         streams that notice when the death is noticed (22 s)
//    3 publish to the person          nothing
//
//    steps of a removal
//    1 REMOVE_DIALOG at the user      a member who does not see the room in their list
//    2 LEAVE at the room              caches that trust the membership for up to MEMBER_MS
//    3 publish to every process       perhaps the room in the list of a non-member (see below)
//    4 REMOVE_DIALOG, if the room is  nothing
//      back in the list
//    5 publish to the person
//
// A message that is written during a removal may put the room back into the list. If its writer
// looks here after step 2, it takes the room out again; if before, step 4 does. A crash before that
// leaves the room in the list of a non-member, but it is not shown: the list checks the membership
// of every room that it shows.
// `npm run check` finds members who lack the room in their list, and --repair adds it; so does
// their next message.
//
// If rights depend on membership, it is checked for each request. The answer is cached, and every
// process forgets it at once when a removal is published. If the publication fails, the other
// processes hear of that within seconds, and then trust no earlier answer. If the publisher dies
// before it publishes, a cached answer lasts up to MEMBER_MS.
//
// A request that was on its way during the removal has passed that check. Writing and inviting make
// members, so somebody who never stops writing would come back by it, and keep the right for ever.
// So both ask once more, in the very step that would do it (COMMIT, JOIN).
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { slotOf } from '../redis/slots.js'
import { type Subscriber } from '../redis/subscriber.js'
import { Remembered } from '../remembered.js'
import { Shared } from '../shared.js'
import { JOIN, LEAVE } from './dialog-scripts.js'
import { type Dialogs } from './dialogs.js'
import {
  leftKey,
  leftPartKey,
  REMOVALS_CHANNEL,
  roomSlot,
  userChannel,
  usersKey,
  usersPart,
  usersPartKey
} from './keys.js'
import { COUNT } from './user-scripts.js'
import { type PersonNews } from './person-news.js'
import { type Users } from './users.js'

/** How long a cached membership is trusted. */
const MEMBER_MS = 10_000
/** A room's removed users are in one key until there are this many; further ones are in parts. */
export const LEFT_MAX = 3000

/**
 * What these users asked for was refused, because they may do it only as members, and are none.
 * They were members when their right was checked, and have been removed since.
 */
export class NotMembers extends DialogsError {
  readonly users: ReadonlySet<string>
  /** Whether an earlier attempt may have done it nevertheless. */
  readonly mayBeDone: boolean

  constructor(users: readonly string[], mayBeDone = false) {
    super('FORBIDDEN', 'The token gives this right to members of the room: you are none any more.')
    this.users = new Set(users)
    this.mayBeDone = mayBeDone
  }
}

/** Without a user, all members of the room were removed, because it was deleted. */
export type RemovalListener = (room: string, user: string | undefined) => void

export class Members {
  readonly #cluster: Cluster
  readonly #users: Users
  readonly #dialogs: Dialogs
  readonly #deadlineMs: number
  readonly #onFault: (error: unknown, channel: string) => void
  /** Until when a cached membership is trusted, by performance.now(). */
  readonly #until = new Remembered<number>()
  readonly #looks = new Shared<boolean>()
  readonly #listeners: RemovalListener[] = []
  readonly #missedListeners: Array<() => void> = []
  readonly #telling = new Set<Promise<void>>()
  /** How many removals this process has heard of. A read that began before one may be outdated. */
  #removals = 0

  constructor(
    cluster: Cluster,
    users: Users,
    dialogs: Dialogs,
    options: {
      readonly deadlineMs: number
      readonly onFault: (error: unknown, channel: string) => void
    }
  ) {
    this.#cluster = cluster
    this.#users = users
    this.#dialogs = dialogs
    this.#deadlineMs = options.deadlineMs
    this.#onFault = options.onFault
  }

  /** From now on, this process hears of removals by other processes. */
  listen(subscriber: Pick<Subscriber, 'subscribe'>): void {
    subscriber.subscribe(REMOVALS_CHANNEL, {
      onMessage: payload => {
        const removal = parseRemoval(payload)
        if (removal !== undefined) this.#forget(...removal)
      },
      onSubscribed: () => {
        this.doubtRemovals()
      }
    })
  }

  /**
   * Removals by other processes may have been missed: after a (re)subscription, when a process
   * could not publish one, and when a process has died (peers.ts).
   */
  doubtRemovals(): void {
    this.#removals++
    this.#until.clear()
    for (const listener of this.#missedListeners) listener()
  }

  /**
   * Whether a user is a member. Returns a promise only if this process does not know the answer.
   */
  isMember(room: string, user: string): boolean | Promise<boolean> {
    const key = keyOf(room, user)
    if ((this.#until.get(key) ?? 0) > performance.now()) return true
    return this.#looks.read(key, () => this.#look(room, user))
  }

  /**
   * Calls back for each removal that this process hears of, including those by other processes.
   * After that, `isMember` does not return true from earlier knowledge.
   */
  onRemoved(listener: RemovalListener): void {
    this.#listeners.push(listener)
  }

  /** Calls back when removals by other processes may have been missed. */
  onMissed(listener: () => void): void {
    this.#missedListeners.push(listener)
  }

  /**
   * Makes a user a member, and puts the room into their list.
   * @param inviter who must be a member at this moment; undefined if that does not matter
   * @returns whether they were not a member before
   * @throws DialogsError TOO_MANY_ROOMS; NotMembers; otherwise as Cluster.write
   */
  async join(room: string, user: string, inviter?: string): Promise<boolean> {
    const deadline = performance.now() + this.#deadlineMs
    const keys = [...keysOf(room, user), usersPartKey(room, usersPart(inviter ?? user))]
    const reply = await this.#cluster.acknowledged(
      roomSlot(room),
      ['EVALSHA', JOIN.sha, String(keys.length), ...keys, user, inviter ?? ''],
      deadline,
      // While the slot is half-moved, the user is only counted, in the first key, with 0 messages.
      // Whether the inviter is a member is not known then, so this waits.
      inviter === undefined
        ? () => ['EVALSHA', COUNT.sha, '1', usersKey(room), user, '0']
        : undefined
    )
    const [isNew, length] = Array.isArray(reply) ? (reply as [0 | 1 | -1, number]) : [1, undefined]
    if (isNew === -1) throw new NotMembers([inviter ?? ''])
    if (length !== undefined) this.#users.noteLength(room, length)
    try {
      await this.addToList(room, user, Date.now(), deadline)
    } catch (error) {
      const isRefused = error instanceof DialogsError && error.code === 'TOO_MANY_ROOMS'
      if (isRefused && isNew === 1) await this.leave(room, user)
      throw error
    }
    return isNew === 1
  }

  /**
   * Puts a room into a member's list, and tells their streams if it is new there. If the member has
   * left meanwhile, it is taken out again, because streams that missed the news go by the list
   * alone.
   * @param isBack tells the streams in any case: they may have stopped following a room that is in
   * the list
   * @throws DialogsError TOO_MANY_ROOMS; otherwise as Cluster.write
   */
  async addToList(
    room: string,
    user: string,
    ms: number,
    deadline: number,
    isBack = false
  ): Promise<void> {
    const isNew = await this.#dialogs.add(user, room, ms, deadline)
    if (isNew && !(await this.isMemberNow(room, user))) {
      await this.#dialogs.remove(user, room, deadline)
      return
    }
    if (isNew || isBack) this.tell(user, { joined: room })
  }

  /**
   * Removes a room from a user's list, and ends the membership.
   * @returns whether they were a member
   * @throws DialogsError as Cluster.write
   */
  async leave(room: string, user: string): Promise<boolean> {
    const deadline = performance.now() + this.#deadlineMs
    await this.#dialogs.remove(user, room, deadline)
    const args = ['EVALSHA', LEAVE.sha, '4', ...keysOf(room, user), user, String(LEFT_MAX)]
    const reply = await this.#cluster.acknowledged(roomSlot(room), args, deadline)
    this.#forget(room, user)
    await this.#publish(REMOVALS_CHANNEL, JSON.stringify([room, user]), deadline)
    try {
      await this.#unlistAgain(room, user, deadline)
    } finally {
      this.tell(user, { left: room })
    }
    return reply === 1
  }

  // Step 4. Streams that read the list would follow the room for good. A user who has come back
  // meanwhile keeps it.
  async #unlistAgain(room: string, user: string, deadline: number): Promise<void> {
    if ((await this.#dialogs.get(user, room)) === undefined) return
    if (await this.isMemberNow(room, user)) return
    await this.#dialogs.remove(user, room, deadline)
  }

  /** Tells every process that a room has no members any more, after it was deleted in the store. */
  async removeAll(room: string): Promise<void> {
    this.#forget(room, undefined)
    await this.#publish(
      REMOVALS_CHANNEL,
      JSON.stringify([room]),
      performance.now() + this.#deadlineMs
    )
  }

  /** Tells a person's streams in every process. Nobody waits for it. */
  tell(user: string, news: PersonNews): void {
    const told: Promise<void> = this.#publish(userChannel(user), JSON.stringify(news)).finally(
      () => {
        this.#telling.delete(told)
      }
    )
    this.#telling.add(told)
  }

  /** Resolves when everything published so far has been sent or given up. */
  async settled(): Promise<void> {
    await Promise.all(this.#telling)
  }

  async #look(room: string, user: string): Promise<boolean> {
    const removals = this.#removals
    const isMember = await this.isMemberNow(room, user)
    if (isMember && removals === this.#removals) {
      this.#until.set(keyOf(room, user), performance.now() + MEMBER_MS)
    }
    return isMember
  }

  /** Asks the store, and remembers nothing. */
  async isMemberNow(room: string, user: string): Promise<boolean> {
    // Nearly always the first key has the answer.
    for (const key of [usersKey(room), usersPartKey(room, usersPart(user))]) {
      if ((await this.#cluster.command(roomSlot(room), ['HEXISTS', key, user])) === 1) return true
    }
    return false
  }

  #forget(room: string, user: string | undefined): void {
    this.#removals++
    if (user === undefined) this.#until.clear()
    else this.#until.delete(keyOf(room, user))
    for (const listener of this.#listeners) listener(room, user)
  }

  async #publish(channel: string, payload: string, deadline?: number): Promise<void> {
    try {
      await this.#cluster.unacknowledged(slotOf(channel), ['SPUBLISH', channel, payload], deadline)
    } catch (error) {
      this.#onFault(error, channel)
    }
  }
}

// Names have no braces, so a brace separates them.
const keyOf = (room: string, user: string): string => `${room}{${user}`

function keysOf(room: string, user: string): string[] {
  const part = usersPart(user)
  return [usersKey(room), usersPartKey(room, part), leftKey(room), leftPartKey(room, part)]
}

function parseRemoval(payload: Buffer): [room: string, user: string | undefined] | undefined {
  try {
    const removal: unknown = JSON.parse(payload.toString())
    if (!Array.isArray(removal)) return undefined
    const [room, user] = removal as unknown[]
    const isRemoval = typeof room === 'string' && (user === undefined || typeof user === 'string')
    return isRemoval ? [room, user] : undefined
  } catch {
    // No version of this service has published this.
    return undefined
  }
}
