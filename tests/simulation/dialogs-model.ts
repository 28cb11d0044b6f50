// Members, read marks and lists of dialogs: what clients ask of them, and whether the answers may
// be. A mark that was answered is on two nodes, and never goes back; the number of unread messages
// is that of the log. Like the oracle, it looks into all nodes at once.
import { DialogsError } from '../../src/errors.js'
import { readKey, userSlot } from '../../src/store/keys.js'
import { type Dialog } from '../../src/store/inbox.js'
import { type Store } from '../../src/store/store.js'
import { storedLog } from './durability.js'
import { type SimulatedNode } from './node.js'
import { type DialogAction } from './plan.js'
import { type World } from './world.js'

type Mark = { readonly user: string; readonly room: string; seq: number; isExcused: boolean }

const PAGE_BYTES = 1_000_000
const AGAIN_MS = 100

export class DialogsModel {
  readonly #world: World
  readonly #marks = new Map<string, Mark>()
  /** `<user> <room>` of those who were to leave: that takes the mark away, whenever it is done. */
  readonly #leaving = new Set<string>()
  /** Users whose dialogs have still to be compared at the end; undefined before. */
  #left: string[] | undefined

  constructor(world: World) {
    this.#world = world
  }

  act(action: DialogAction): void {
    const instance = this.#world.instances[action.instance]
    const store = instance?.service?.store
    if (instance === undefined || store === undefined) return
    this.#world.time.after(
      0.1,
      () => {
        this.#carryOut(store, action).then(
          done => {
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

  /** A replica takes over: what it lacks has died with its master. */
  onPromotion(node: SimulatedNode): void {
    for (const mark of this.#marks.values()) {
      const owner = node.view.owners[userSlot(mark.user)]
      if (owner === node.view.me.masterId && markAt(node, mark) < mark.seq) mark.isExcused = true
    }
  }

  /** Of two copies of a key one is kept: marks may go back. */
  onConflict(): void {
    for (const mark of this.#marks.values()) mark.isExcused = true
  }

  /** Compares every user's dialogs with the logs, when everything is quiet. */
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
        store.inbox.states(user, this.#world.plan.rooms).then(
          dialogs => {
            for (const dialog of dialogs.values()) this.#judge(user, dialog)
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
        return dialogs.map(({ room, unread }) => `${room} ${unread}`).join(', ')
      }
      case 'mark': {
        const dialog = await store.inbox.markRead(user, action.room, action.seq)
        if (dialog === undefined) return 'no member'
        this.#onMarked(user, action.room, dialog.read)
        return `${action.room} ${dialog.read}`
      }
    }
  }

  #onMarked(user: string, room: string, seq: number): void {
    if (this.#leaving.has(`${user} ${room}`)) return
    const { nodes, oracle } = this.#world
    const holders = nodes.filter(node => markAt(node, { user, room }) >= seq)
    const isAlone = holders.length < 2
    if (isAlone && !oracle.isExcused(holders, readKey(user))) {
      oracle.violation(
        `${user}'s mark ${seq} in ${room} is answered, and only at ${holders.map(({ name }) => name).join(' ')}`
      )
    }
    const known = this.#marks.get(`${user} ${room}`)
    if (known !== undefined && known.seq > seq) return
    this.#marks.set(`${user} ${room}`, { user, room, seq, isExcused: isAlone })
  }

  #judge(user: string, { room, head, read, unread }: Dialog): void {
    const { oracle, plan } = this.#world
    const log = storedLog(this.#world, room, plan.service.segmentLength)
    if (head !== log.length) {
      oracle.violation(`${user} sees the head ${head} in ${room}, which is ${log.length}`)
    }
    const mark = this.#marks.get(`${user} ${room}`)
    const mayBeGone = this.#leaving.has(`${user} ${room}`)
    if (mark !== undefined && !mayBeGone && !mark.isExcused && read < mark.seq) {
      oracle.violation(`${user} had read ${mark.seq} of ${room}, and now ${read}`)
    }
    const expected = log.filter(
      entry => entry.seq > read && entry.user !== user && entry.reference !== ''
    ).length
    if (unread !== Math.min(expected, 100)) {
      oracle.violation(
        `${user} has ${unread} unread messages in ${room}, and should have ${expected}`
      )
    }
  }
}

// A mark is `<sequence>-<ms>`.
function markAt(node: SimulatedNode, { user, room }: Pick<Mark, 'user' | 'room'>): number {
  const marks = node.db.values.get(readKey(user))
  return marks instanceof Map ? Number.parseInt(String(marks.get(room) ?? '0'), 10) : 0
}
