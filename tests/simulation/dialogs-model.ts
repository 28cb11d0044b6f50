// Members, read marks and lists of dialogs: what clients ask for, and whether the answers are
// allowed. A mark that was answered is on two nodes and never goes back. The number of unread
// messages is what the log says. Like the oracle, this model looks into all nodes at once.
import { DialogsError } from '../../src/errors.js'
import { dialogsKey, readKey, roomSlot, usersKey, userSlot } from '../../src/store/keys.js'
import { type Dialog } from '../../src/store/inbox.js'
import { type Store } from '../../src/store/store.js'
import { timeOf } from '../../src/message/message.js'
import { headOf, isExpired, type Stored, storedLog } from './durability.js'
import { SortedSet } from './keyspace.js'
import { type SimulatedNode } from './node.js'
import { type DialogAction } from './plan.js'
import { type World } from './world.js'

/** What somebody is told about a dialog. */
export type DialogState = {
  readonly room: string
  readonly head: number
  readonly read: number
  readonly unread: number
  readonly last: { readonly seq: number; readonly text?: string; readonly lost?: true } | null
}

type Mark = { readonly user: string; readonly room: string; seq: number; isExcused: boolean }

const PAGE_BYTES = 1_000_000
const AGAIN_MS = 100

export class DialogsModel {
  readonly #world: World
  readonly #marks = new Map<string, Mark>()
  /**
   * `<user> <room>` of everybody whose removal was asked for. It takes their mark away, whenever it
   * happens.
   */
  readonly #leaving = new Set<string>()
  /** `<user> <room>` of joins and removals that have not been answered with success. */
  readonly #unfinished = new Map<string, number>()
  /** The users whose dialogs are still to be compared at the end. Undefined before the end. */
  #left: string[] | undefined

  constructor(world: World) {
    this.#world = world
  }

  act(action: DialogAction): void {
    const instance = this.#world.instances[action.instance]
    const store = instance?.service?.store
    if (instance === undefined || store === undefined || instance.isStopping) return
    const membership =
      action.kind === 'join' || action.kind === 'leave'
        ? `${action.user} ${action.room}`
        : undefined
    this.#count(membership, 1)
    // A process that stops waits for it.
    instance.requests++
    this.#world.time.after(
      0.1,
      () => {
        const carriedOut = this.#carryOut(store, action).finally(() => instance.requests--)
        carriedOut.then(
          done => {
            this.#count(membership, -1)
            this.#world.trace.note(`${action.kind} of ${action.user}: ${done}`)
          },
          (error: unknown) => {
            if (!(error instanceof DialogsError)) {
              this.#world.oracle.violation(
                `${action.kind} fails: ${error instanceof Error ? String(error.stack) : String(error)}`
              )
            }
          }
        )
      },
      instance.owner
    )
  }

  #count(membership: string | undefined, by: number): void {
    if (membership === undefined) return
    this.#unfinished.set(membership, (this.#unfinished.get(membership) ?? 0) + by)
  }

  /** A replica takes over: the marks that it lacks died with its master. */
  onPromotion(node: SimulatedNode): void {
    for (const mark of this.#marks.values()) {
      const owner = node.view.owners[userSlot(mark.user)]
      if (owner === node.view.me.masterId && markAt(node, mark) < mark.seq) mark.isExcused = true
    }
  }

  /** Two nodes had a copy of a key, and only one copy was kept: marks may go back. */
  onConflict(): void {
    for (const mark of this.#marks.values()) mark.isExcused = true
  }

  /** When everything is quiet, compares every user's dialogs with the logs. */
  compare(): void {
    this.#left = [...this.#world.plan.users]
    this.#compareNext()
  }

  get isCompared(): boolean {
    return this.#left?.length === 0
  }

  #compareNext(): void {
    const user = this.#left?.[0]
    const instance = this.#world.instances.find(({ service }) => service !== undefined)
    const store = instance?.service?.store
    if (user === undefined || store === undefined) return
    this.#world.time.after(
      0.1,
      () => {
        const { rooms } = this.#world.plan
        const heads = new Map(rooms.map(room => [room, headOf(this.#world, room)]))
        store.inbox.states(user, rooms).then(
          dialogs => {
            for (const dialog of dialogs.values()) {
              this.#judge(user, dialog, heads.get(dialog.room) ?? 0)
            }
            this.#left?.shift()
            this.#compareNext()
          },
          (error: unknown) => {
            if (!(error instanceof DialogsError)) {
              this.#world.oracle.violation(`dialogs of ${user}: ${String(error)}`)
            }
            this.#world.time.after(AGAIN_MS, () => {
              this.#compareNext()
            })
          }
        )
      },
      instance?.owner
    )
  }

  async #carryOut(store: Store, action: DialogAction): Promise<string> {
    const { user } = action
    if (action.kind === 'leave') this.#leaving.add(`${user} ${action.room}`)
    switch (action.kind) {
      case 'join':
        return String(await store.members.join(action.room, user))
      case 'leave':
        return String(await store.members.leave(action.room, user))
      case 'list': {
        const { dialogs } = await store.inbox.page(user, undefined, 10, PAGE_BYTES)
        for (const dialog of dialogs) {
          const { room, head, read, unread } = dialog
          const last = JSON.parse(dialog.last) as DialogState['last']
          this.onTold(`the list of ${user}`, user, { room, head, read, unread, last })
        }
        return dialogs.map(({ room, unread }) => `${room} ${unread}`).join(', ')
      }
      case 'mark': {
        const known = this.#marks.get(`${user} ${action.room}`)
        const dialog = await store.inbox.markRead(user, action.room, action.seq)
        if (dialog === undefined) return 'no member'
        this.#onMarked(user, action.room, dialog.read, known?.isExcused === false ? known.seq : 0)
        return `${action.room} ${dialog.read}`
      }
    }
  }

  /** @param least the mark that was answered before this one was asked for */
  #onMarked(user: string, room: string, seq: number, least: number): void {
    if (this.#mayBeForgotten(user, room)) return
    if (seq < least) {
      this.#world.oracle.violation(
        `${user}'s mark in ${room} was answered as ${least}, and is answered as ${seq} now`
      )
    }
    const { nodes, oracle } = this.#world
    const holders = nodes.filter(node => markAt(node, { user, room }) >= seq)
    const isAlone = holders.length < 2
    if (isAlone && !oracle.twoNodes.isExcused(holders, readKey(user))) {
      oracle.violation(
        `${user}'s mark ${seq} in ${room} is answered, and only at ${holders.map(({ name }) => name).join(' ')}`
      )
    }
    const known = this.#marks.get(`${user} ${room}`)
    if (known !== undefined && known.seq > seq) return
    this.#marks.set(`${user} ${room}`, { user, room, seq, isExcused: isAlone })
  }

  /**
   * Somebody is told about a dialog. As long as nothing was lost, it must be right at that moment.
   */
  onTold(who: string, user: string, state: DialogState): void {
    const { oracle } = this.#world
    if (oracle.upheavals > 0 || oracle.rooms.wasDeleted(state.room)) return
    const fault = this.#faultOf(user, state)
    if (fault !== undefined) oracle.violation(`${who}: ${fault}`)
  }

  /**
   * A difference between what people's streams were told and what is stored; undefined if there is
   * none. A stream may not have learned yet that somebody joined or left whose process ended before
   * it could answer.
   */
  get disagreement(): string | undefined {
    return this.#disagreementOf(true)
  }

  /** The same, after every stream has looked at its list: then it knows that as well. */
  get disagreementAfterLook(): string | undefined {
    return this.#disagreementOf(false)
  }

  #disagreementOf(mayBeUnknown: boolean): string | undefined {
    for (const { name, user, dialogs } of this.#world.people) {
      for (const room of this.#world.plan.rooms) {
        const state = dialogs.get(room)
        const isStored = this.#isListed(user, room) && this.#isMember(user, room)
        if (isStored !== (state !== undefined)) {
          if (mayBeUnknown && (this.#unfinished.get(`${user} ${room}`) ?? 0) > 0) continue
          return `${name} ${isStored ? 'was not told of' : 'still has'} ${room}, of ${user}`
        }
        if (state === undefined) continue
        const head = headOf(this.#world, room)
        const read = this.#readOf(user, room)
        if (state.head !== head || state.read !== read) {
          return `${name} has ${room} at ${state.head}, read to ${state.read}, which is at ${head}, read to ${read}`
        }
        const fault = this.#faultOf(user, state)
        if (fault !== undefined) return `${name}: ${fault}`
      }
    }
    return undefined
  }

  #mayBeForgotten(user: string, room: string): boolean {
    return this.#leaving.has(`${user} ${room}`) || this.#world.oracle.rooms.wasDeleted(room)
  }

  #isListed(user: string, room: string): boolean {
    const list = this.#world.ownerOf(userSlot(user))?.db.values.get(dialogsKey(user))
    return list instanceof SortedSet && list.scores.has(room)
  }

  #isMember(user: string, room: string): boolean {
    const users = this.#world.ownerOf(roomSlot(room))?.db.values.get(usersKey(room))
    return users instanceof Map && users.has(user)
  }

  #readOf(user: string, room: string): number {
    const owner = this.#world.ownerOf(userSlot(user))
    return owner === undefined ? 0 : markAt(owner, { user, room })
  }

  // What is wrong with a state according to the log as it is now. An older state is right as well.
  #faultOf(user: string, { room, head, read, unread, last }: DialogState): string | undefined {
    const log = storedLog(this.#world, room, this.#world.plan.service.segmentLength)
    if (head > log.length) return `${user} sees the head ${head} in ${room}, which is ${log.length}`
    const messages = log.filter(
      ({ seq, reference, change }) =>
        seq <= head &&
        reference !== '' &&
        change === undefined &&
        !isExpired(this.#world, timeOf(reference))
    )
    const expected = messages.filter(entry => entry.seq > read && entry.user !== user).length
    // A stream has counted what was lost afterwards with more nodes than promised.
    const isLost = ({ seq, reference, isGone }: Stored): boolean =>
      seq > read && seq <= head && reference === '' && !isGone
    const lost = this.#world.oracle.upheavals > 0 ? log.filter(isLost).length : 0
    if (unread < Math.min(expected, 100) || unread > Math.min(expected + lost, 100)) {
      return `${user} has ${unread} unread messages in ${room} at ${head}, read to ${read}, and should have ${expected}`
    }
    const newest = messages.at(-1)
    if ((last?.seq ?? 0) !== (newest?.seq ?? 0)) {
      return `${user} sees ${last?.seq ?? 'nothing'} as the last message of ${room}, which is ${newest?.seq ?? 'nothing'}`
    }
    const { changes } = this.#world.oracle
    const text = last?.text
    const isKnown =
      text === undefined || text === newest?.original || changes.mayBe(room, last?.seq ?? 0, text)
    return isKnown ? undefined : `${user} sees ${text} as the last message of ${room}`
  }

  // A message may still arrive in between if its client has given up.
  #judge(user: string, dialog: Dialog, headBefore: number): void {
    const { room, head, read, unread } = dialog
    const { oracle } = this.#world
    const last = JSON.parse(dialog.last) as DialogState['last']
    const fault = this.#faultOf(user, { room, head, read, unread, last })
    if (fault !== undefined) oracle.violation(fault)
    if (head < headBefore) {
      oracle.violation(`${user} sees the head ${head} in ${room}, which is not the head`)
    }
    const mark = this.#marks.get(`${user} ${room}`)
    const mayBeGone = this.#mayBeForgotten(user, room)
    if (mark !== undefined && !mayBeGone && !mark.isExcused && read < mark.seq) {
      oracle.violation(`${user} had read ${mark.seq} of ${room}, and now ${read}`)
    }
  }
}

// A mark is `<sequence>-<ms>`.
function markAt(node: SimulatedNode, { user, room }: Pick<Mark, 'user' | 'room'>): number {
  const marks = node.db.values.get(readKey(user))
  return marks instanceof Map ? Number.parseInt(String(marks.get(room) ?? '0'), 10) : 0
}
