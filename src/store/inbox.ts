// A person's list of dialogs: each with its head, how far the person has read, how many messages
// are unread, and the last message. Everything is read on request; nothing is written per member
// when somebody posts. dialog-order.ts has the order of the list.
import { FairTurns } from '../fair-turns.js'
import { type Cluster } from '../redis/cluster.js'
import { type ShardOf } from '../shares.js'
import { entryJson } from '../message/frame.js'
import { parseReference } from '../message/message.js'
import { DialogOrder, type DialogPlace, formatPlace, parsePlace } from './dialog-order.js'
import { DIALOG, type DialogReply, UNREAD_MAX, UNREAD_SCAN_MAX } from './dialog-scripts.js'
import { type Dialogs, type OwnDialog } from './dialogs.js'
import { type History } from './history.js'
import { logKey, roomSlot } from './keys.js'
import { type Log } from './log.js'
import { type Members } from './members.js'
import { type LogEntry } from './pieces.js'
import { type ReadMark, type ReadMarks } from './read-marks.js'

export type Dialog = {
  readonly room: string
  /** The last sequence of the room; 0 if it is empty. */
  readonly head: number
  /** The last sequence that the person has read. */
  readonly read: number
  /** Messages of others after that, exact up to 99; 100 stands for more. */
  readonly unread: number
  /**
   * The last message, as JSON; `null` in an empty room, and if none of the newest UNREAD_SCAN_MAX
   * entries is a message.
   */
  readonly last: string
}

/** A dialog as JSON; its `last` is JSON already. */
export const dialogJson = ({ room, head, read, unread, last }: Dialog): string =>
  `{"room":${JSON.stringify(room)},"head":${head},"read":${read},"unread":${unread},"last":${last}}`

export type DialogsPage = {
  readonly dialogs: Dialog[]
  /** The `before` of the next page; undefined on the last page. */
  readonly next: string | undefined
}

/** Dialogs read at the same time for one page. */
const PIECE_LENGTH = 50
/** Places read beyond the length of a page: the person may have left some of the rooms. */
const SPARE = 5
/** How many heads and dialogs are read at the same time, over all requests. */
const READS_MAX = 256

export class Inbox {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #history: History
  readonly #members: Members
  readonly #dialogs: Dialogs
  readonly #marks: ReadMarks
  readonly #deadlineMs: number
  readonly #fair: FairTurns
  readonly #order: DialogOrder

  constructor(
    cluster: Cluster,
    parts: {
      readonly log: Log
      readonly history: History
      readonly members: Members
      readonly dialogs: Dialogs
      readonly marks: ReadMarks
    },
    { deadlineMs, shardOf }: { readonly deadlineMs: number; readonly shardOf: ShardOf }
  ) {
    this.#cluster = cluster
    this.#log = parts.log
    this.#history = parts.history
    this.#members = parts.members
    this.#dialogs = parts.dialogs
    this.#marks = parts.marks
    this.#fair = new FairTurns(READS_MAX, shardOf)
    this.#order = new DialogOrder(parts.log, parts.dialogs, this.#fair)
    this.#deadlineMs = deadlineMs
  }

  /**
   * A page of a person's dialogs, newest activity first.
   * @param before the `next` of the page before
   * @param bytesMax ends the page earlier if it would have more bytes than this, but not before it
   * has one dialog
   * @throws DialogsError INVALID_CURSOR; otherwise as Cluster.read
   */
  async page(
    user: string,
    before: string | undefined,
    limit: number,
    bytesMax: number
  ): Promise<DialogsPage> {
    const count = limit + SPARE
    const places = await this.#order.places(
      user,
      before === undefined ? undefined : parsePlace(before),
      count
    )
    const dialogs: Dialog[] = []
    let left = bytesMax
    for (let from = 0; from < places.length; from += PIECE_LENGTH) {
      if (dialogs.length === limit) return { dialogs, next: nextOf(places[from - 1]) }
      const piece = places.slice(from, from + PIECE_LENGTH)
      const found = await this.states(
        user,
        piece.map(({ room }) => room)
      )
      for (const [index, { room }] of piece.entries()) {
        const dialog = found.get(room)
        if (dialog === undefined) continue
        const bytes = Buffer.byteLength(dialog.last) + 2 * Buffer.byteLength(room)
        if (dialogs.length === limit || (bytes > left && dialogs.length > 0)) {
          return { dialogs, next: nextOf(places[from + index - 1]) }
        }
        left -= bytes
        dialogs.push(dialog)
      }
    }
    return { dialogs, next: places.length < count ? undefined : nextOf(places.at(-1)) }
  }

  /**
   * Marks a room as read up to a sequence, or up to its head if that is lower. Never moves back.
   * @returns the dialog after that; undefined if the user is not a member
   * @throws DialogsError as Cluster.write
   */
  async markRead(user: string, room: string, seq: number): Promise<Dialog | undefined> {
    if (!(await this.#members.isMember(room, user))) return undefined
    const deadline = performance.now() + this.#deadlineMs
    const head = (await this.#log.head(room))?.seq ?? 0
    const read = await this.#marks.mark(
      user,
      room,
      { seq: Math.min(seq, head), ms: Date.now() },
      deadline
    )
    if (read.isMoved) this.#members.tell(user, { read: room, seq: read.seq })
    return await this.#state(user, room, read.seq)
  }

  /**
   * The dialogs of a person in some rooms, as they are now, by room. Leaves out rooms of which the
   * person is not a member.
   * @param isCertain asks the store who is a member, and does not rely on what this process knows:
   * a room may have been deleted without this process having heard of the removal of its members
   */
  async states(
    user: string,
    rooms: readonly string[],
    isCertain = false
  ): Promise<Map<string, Dialog>> {
    const marks = await this.#marks.many(user, rooms)
    const dialogs = await Promise.all(
      rooms.map((room, index) =>
        this.#fair.run({ client: user, bytes: 0, slot: roomSlot(room) }, async () =>
          (await (isCertain
            ? this.#members.isMemberNow(room, user)
            : this.#members.isMember(room, user)))
            ? await this.#state(user, room, marks[index]?.seq ?? 0)
            : undefined
        )
      )
    )
    const found = new Map<string, Dialog>()
    for (const dialog of dialogs) if (dialog !== undefined) found.set(dialog.room, dialog)
    return found
  }

  /** Whether a room is in the person's list. */
  async has(user: string, room: string): Promise<boolean> {
    return (await this.#dialogs.get(user, room)) !== undefined
  }

  /** The rooms with the person's newest own acts, and how far each is read. */
  async newest(
    user: string,
    count: number
  ): Promise<Array<OwnDialog & { readonly mark: ReadMark }>> {
    const dialogs = await this.#dialogs.newest(user, count)
    const marks = await this.#marks.many(
      user,
      dialogs.map(({ room }) => room)
    )
    return dialogs.map((dialog, index) => ({ ...dialog, mark: marks[index] ?? { seq: 0, ms: 0 } }))
  }

  async #state(user: string, room: string, read: number): Promise<Dialog> {
    const first = this.#log.expires(room) ? await this.#log.first(room) : 1
    // DIALOG returns a DialogReply.
    const [head, counted, seq, reference] = (await this.#cluster.command(roomSlot(room), [
      'EVALSHA',
      DIALOG.sha,
      '1',
      logKey(room),
      String(read),
      user,
      String(first)
    ])) as unknown as DialogReply
    // Throws if the log is on another node. Only otherwise is the room empty.
    if (head === 0) await this.#log.head(room)
    const unread =
      counted < 0 ? await this.#countUnread(user, room, Math.max(read, first - 1), head) : counted
    const newest = seq === 0 && head > 0 ? await this.#lastMessage(room, head) : { seq, reference }
    const [last] =
      newest === undefined || newest.seq === 0 ? [] : await this.#history.entries(room, [newest])
    return { room, head, read, unread, last: last === undefined ? 'null' : entryJson(last) }
  }

  // For a tail that does not reach back to the last message read, also counts in the segments.
  async #countUnread(user: string, room: string, read: number, head: number): Promise<number> {
    const from = Math.max(read + 1, head - UNREAD_SCAN_MAX + 1)
    const entries = await this.#log.range(room, from, head)
    const unread = entries.filter(({ reference }) => {
      if (reference === undefined) return false
      const { user: author, change } = parseReference(reference)
      return author !== user && change === undefined
    }).length
    return from > read + 1 ? UNREAD_MAX + 1 : Math.min(unread, UNREAD_MAX + 1)
  }

  // For a tail that has no message but only changes, also looks in the segments.
  async #lastMessage(room: string, head: number): Promise<LogEntry | undefined> {
    const entries = await this.#log.range(room, Math.max(1, head - UNREAD_SCAN_MAX + 1), head)
    return entries.findLast(
      ({ reference }) => reference !== undefined && parseReference(reference).change === undefined
    )
  }
}

const nextOf = (place: DialogPlace | undefined): string | undefined =>
  place === undefined ? undefined : formatPlace(place)
