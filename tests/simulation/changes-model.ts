// What clients ask to be changed and deleted, and what nobody may see afterwards. A change that was
// answered or published is on two nodes, and once in the log. From the moment in which a deletion
// is answered, no page shows the text. When everything is quiet, no node has it any more.
import { type Change, parseReference } from '../../src/message/message.js'
import { slotOf } from '../../src/redis/slots.js'
import { blockKey, changedKey, parseKey } from '../../src/store/keys.js'
import { changedIn, copiesOfChange, type Stored, textIn } from './durability.js'
import { type SimulatedNode } from './node.js'
import { type ChangeRequest } from './plan.js'
import { type Effects } from './replication-link.js'
import { type Answer, Request } from './request.js'
import { type World } from './world.js'

type Told = {
  readonly room: string
  readonly seq: number
  readonly toldAt: number
  readonly text: string | undefined
  isExcused: boolean
}

const FINAL = new Set([
  'MESSAGE_LOST',
  'MESSAGE_DELETED',
  'MESSAGE_EXPIRED',
  'MESSAGE_NOT_FOUND',
  'NOT_A_MESSAGE',
  'ROOM_DELETED',
  'IDEMPOTENCY_CONFLICT'
])

export class ChangesModel {
  readonly #world: World
  /** By `<room> <seq>`: every text that a client asked for as the message's new text. */
  readonly #wanted = new Map<string, Set<string>>()
  /** By `<room> <seq>` of messages whose deletion was asked for: when one was first answered. */
  readonly #deletions = new Map<string, { answeredAt: number }>()
  /** By `<room> <toldAt>`: the change that an answer named. */
  readonly #told = new Map<string, Told>()
  /**
   * `<block key>/<entry id>` of messages whose change was lost with more nodes than the promise
   * covers.
   */
  readonly #lost = new Set<string>()

  /** By `<changes key> <entry id>`: the number of the newest change, and whose it is. */
  readonly #applied = new Map<string, { readonly n: string; readonly token: string }>()

  constructor(world: World) {
    this.#world = world
  }

  /** A master has carried out commands: nobody applies the same change twice in a row. */
  note(effects: Effects): void {
    for (const effect of effects) {
      if ('value' in effect || effect[0] !== 'HSET') continue
      const [, key = '', id = '', value = ''] = effect
      if (parseKey(key)?.kind !== 'changed') continue
      const [n = '', , token = ''] = value.split(' ', 3)
      const before = this.#applied.get(`${key} ${id}`)
      if (before?.token === token && before.n !== n && this.#world.oracle.upheavals === 0) {
        this.#world.oracle.violation(`the change ${before.n} of ${key} ${id} is applied again`)
      }
      this.#applied.set(`${key} ${id}`, { n, token })
    }
  }

  /** Asks for a change of an acknowledged message, if there is one yet. */
  send(change: ChangeRequest): Request {
    const { oracle } = this.#world
    const { room, text, once } = change
    const known = [...oracle.acknowledged.values()].filter(({ post }) => post.room === room)
    const seq = known[change.which % Math.max(1, known.length)]?.seq ?? 1 + (change.which % 5)
    const key = `${room} ${seq}`
    if (text === undefined) {
      if (!this.#deletions.has(key)) this.#deletions.set(key, { answeredAt: Infinity })
    } else {
      const wanted = this.#wanted.get(key) ?? new Set()
      this.#wanted.set(key, wanted.add(text))
    }
    return new Request(this.#world, {
      name: `${text ?? 'deletion'} of ${room} ${seq}`,
      instance: change.instance,
      hasKey: once !== undefined,
      finalCodes: FINAL,
      send: async ({ store }) => {
        const told = await store.change({ room, seq, text, author: undefined, once })
        this.#onTold(change, seq, told)
        return { status: 200, seq: told.seq }
      },
      onAnswer: answer => {
        this.#onAnswer(change, seq, answer)
      }
    })
  }

  /** Whether a client asked for this text as the message's new text. */
  mayBe(room: string, seq: number, text: string): boolean {
    return this.#wanted.get(`${room} ${seq}`)?.has(text) === true
  }

  /** Whether a client has asked for the deletion of the message. */
  mayBeDeleted(room: string, seq: number): boolean {
    return this.#deletions.has(`${room} ${seq}`)
  }

  get wasAskedToDelete(): boolean {
    return this.#deletions.size > 0
  }

  /** Whether a deletion of the message was answered before this time. */
  isDeleted(room: string, seq: number, before: number): boolean {
    return (this.#deletions.get(`${room} ${seq}`)?.answeredAt ?? Infinity) < before
  }

  /** A reader receives a change, or a page shows it. */
  onSeen(who: string, room: string, { seq, changes, text }: Omit<Change, 'ms' | 'room'>): void {
    const { oracle } = this.#world
    if (changes >= seq) oracle.violation(`${who} gets ${room} ${seq} as a change of ${changes}`)
    const isKnown =
      text === undefined ? this.mayBeDeleted(room, changes) : this.mayBe(room, changes, text)
    if (!isKnown) {
      oracle.violation(
        `${who} gets ${room} ${seq}, a change of ${changes} that nobody has asked for: ${text ?? 'deleted'}`
      )
    }
  }

  /** A change is published: what it shows must be durable. */
  onPublished(room: string, change: Omit<Change, 'ms' | 'room'>): void {
    this.onSeen('a publication', room, change)
    this.#checkDurable(room, change.changes, change.seq, 'published')
  }

  /** A replica takes over: the changes that it lacks died with its master. */
  onPromotion(node: SimulatedNode): void {
    for (const other of this.#world.nodes) {
      for (const [key, values] of other.db.values) {
        if (!(values instanceof Map) || parseKey(key)?.kind !== 'changed') continue
        if (node.view.owners[slotOf(key)] !== node.view.me.masterId) continue
        const block = key.slice('room:'.length, -':changed'.length)
        for (const id of values.keys()) {
          const n = changedIn(other, block, id)?.n ?? 0
          if ((changedIn(node, block, id)?.n ?? 0) < n) this.#lost.add(`${block}/${id}`)
        }
      }
    }
    for (const told of this.#told.values()) {
      if (told.isExcused) continue
      const { log } = this.#copies(told.room, told.toldAt, told.seq)
      if (!log.includes(node) && log.every(({ id }) => id === node.view.me.masterId)) {
        told.isExcused = true
      }
    }
  }

  /** Two nodes had a copy of a log, and only one copy was kept. */
  onConflict(): void {
    for (const told of this.#told.values()) told.isExcused = true
  }

  /** Whether the store may differ from what readers were told about the message. */
  isExcused(room: string, { reference }: Pick<Stored, 'reference'>): boolean {
    const slash = reference.indexOf('/')
    const key = blockKey(room, reference.slice(0, slash))
    return this.#lost.has(`${key}/${reference.slice(slash + 1)}`)
  }

  /** Checks everything at the end, when all faults are over and the cluster has settled. */
  judge(room: string, log: readonly Stored[]): void {
    const { oracle } = this.#world
    for (const { room: told, seq, toldAt, text, isExcused } of this.#told.values()) {
      if (told !== room || isExcused || oracle.rooms.mayBeGone(room, toldAt)) continue
      const change = log[toldAt - 1]?.change
      if (change?.seq !== seq || change.isDeletion !== (text === undefined)) {
        oracle.violation(`the change of ${room} ${seq} was answered as ${toldAt}, and is not there`)
      }
    }
    for (const { change } of log) {
      if (change?.isDeletion !== true) continue
      const entry = log[change.seq - 1]
      if (entry === undefined || entry.reference === '' || this.isExcused(room, entry)) continue
      if (!entry.isDeleted) {
        oracle.violation(
          `${room} ${change.seq} was told to be deleted, and is ${entry.text ?? 'lost'}`
        )
      }
      this.#checkGone(room, entry)
    }
  }

  // Nothing is left of a deleted message, on any node that is in sync.
  #checkGone(room: string, { seq, reference, original }: Stored): void {
    const slash = reference.indexOf('/')
    const block = blockKey(room, reference.slice(0, slash))
    const id = reference.slice(slash + 1)
    for (const node of this.#world.nodes) {
      const master = node.upstream?.master
      if (master !== undefined && master.offset !== node.offset) continue
      const text = textIn(node, block, id)
      const changed = changedIn(node, block, id)
      if (text !== undefined || changed?.text !== undefined) {
        this.#world.oracle.violation(
          `${node.name} still has ${room} ${seq}, which was deleted: ${text ?? changed?.text ?? ''} (${original ?? ''}, ${changedKey(block)})`
        )
      }
    }
  }

  #onTold({ room, text }: ChangeRequest, seq: number, told: Change): void {
    const { oracle, time } = this.#world
    if (told.room !== room || told.changes !== seq) {
      oracle.violation(`a change of ${room} ${seq} is answered with one of ${told.changes}`)
    }
    const isDurable = this.#checkDurable(room, seq, told.seq, 'answered')
    const key = `${room} ${told.seq}`
    const known = this.#told.get(key)
    if (known !== undefined && known.seq !== seq && !known.isExcused) {
      oracle.violation(`${key} is the change of ${seq}, and was that of ${known.seq}`)
    }
    const isExcused = !isDurable || known?.isExcused === true
    this.#told.set(key, { room, seq, toldAt: told.seq, text, isExcused })
    const deletion = this.#deletions.get(`${room} ${seq}`)
    if (text === undefined && deletion !== undefined && isDurable) {
      deletion.answeredAt = Math.min(deletion.answeredAt, time.now)
    }
  }

  #onAnswer({ room, once }: ChangeRequest, seq: number, answer: Answer): void {
    if (!('code' in answer)) return
    const { oracle } = this.#world
    const { code, status } = answer
    if (code === 'MESSAGE_DELETED' && this.mayBeDeleted(room, seq)) return
    if (code === 'MESSAGE_NOT_FOUND' || code === 'NOT_A_MESSAGE') return
    // A failover took away the message that the key belonged to, and another message has its
    // sequence now.
    if (code === 'IDEMPOTENCY_CONFLICT' && once !== undefined && oracle.upheavals > 0) return
    oracle.onRefused({ text: `a change of ${room} ${seq}` }, { status, code })
  }

  /**
   * @returns whether the change is durable. It need not be if its shard had no replica to wait for
   */
  #checkDurable(room: string, seq: number, toldAt: number, what: string): boolean {
    const { oracle } = this.#world
    const isIt = (reference: string): boolean =>
      reference.includes('~') && parseReference(reference).change?.seq === seq
    if (oracle.twoNodes.hasOutlived(room, toldAt, isIt)) return false
    const { log, block } = this.#copies(room, toldAt, seq)
    const said = `the change of ${room} ${seq} is ${what} as ${toldAt}`
    return oracle.twoNodes.check({ log, block }, room, toldAt, said)
  }

  #copies(room: string, toldAt: number, seq: number): ReturnType<typeof copiesOfChange> {
    return copiesOfChange(this.#world, room, toldAt, seq, this.#world.plan.service.segmentLength)
  }
}
