// Movers of slots. They take the steps of `npm run cluster`, key by key, and also finish a move
// that another mover left half-way. The steps follow the order of src/cli/cluster/mover.ts,
// key-mover.ts and half-moved.ts. A mover may die between any two steps.
import { SLOT_COUNT, slotOf } from '../../src/redis/slots.js'
import { blockKey, changedKey, parseKey } from '../../src/store/keys.js'
import { type Move } from './faults.js'
import { cloneOf, type Held } from './keyspace.js'
import { type SimulatedNode } from './node.js'
import { compare, type Id, parseId, Stream } from './streams.js'
import { newOwner, type Owner } from './virtual-time.js'
import { type World } from './world.js'

const REPLICA_MS_MAX = 10_000
const RETRY_MS = 200

export class Movers {
  readonly #world: World
  readonly #moving = new Set<number>()
  /** Slots of which a batch of keys is on the target only: the source has already deleted it. */
  readonly #inTransit = new Set<number>()
  #isFinishing = false

  constructor(world: World) {
    this.#world = world
  }

  /** Nobody is moving a slot, and nothing is half-moved. */
  get isAtRest(): boolean {
    return this.#moving.size === 0 && this.#halfMoved().length === 0
  }

  /**
   * Redis can do no better: the source deletes keys as soon as the target has them, whether or not
   * a replica does.
   */
  isInTransit(key: string): boolean {
    return this.#inTransit.has(slotOf(key))
  }

  begin(move: Move): void {
    const slot =
      move.of === 'room' ? slotOf(`{${move.room}}`) : slotOf(blockKey(move.room, `${move.user}.0`))
    if (this.#moving.size > 0 || this.#isFinishing || !this.#world.isHealthy) return
    const owner = newOwner(`mover of ${slot}`)
    this.#moving.add(slot)
    // As in the command, a slot that somebody left half-moved is finished first.
    const target = this.#halfMoved().includes(slot)
      ? this.#targetOf(slot)
      : this.#world.nodeAt(move.to).id
    this.#world.time.after(
      0,
      () => {
        void this.#move(slot, target, move.pauseMs, move.diesAfter).then(outcome => {
          this.#world.trace.note(`slot ${slot}: ${outcome}`)
          this.#moving.delete(slot)
        })
      },
      owner
    )
  }

  /** A description for people. */
  get left(): string {
    return (
      this.#halfMoved()
        .map(
          slot =>
            `slot ${slot} of ${this.#world.ownerOf(slot)?.name ?? 'nobody'} is half-moved: ${this.#world.nodes
              .map(
                ({ name, isMaster, view, db }) =>
                  `${name}${isMaster ? '*' : ''} ${view.migrating.has(slot) ? '>' : ''}${view.importing.has(slot) ? '<' : ''}${db.keysIn(slot).join(' ')}`
              )
              .join(', ')}`
        )
        .join('; ') + (this.#moving.size > 0 ? ` moving ${[...this.#moving].join(' ')}` : '')
    )
  }

  /** Finishes half-moved slots until none is left. */
  finishAll(): void {
    this.#isFinishing = true
    const owner: Owner = newOwner('finisher')
    const round = (): void => {
      const [slot] = this.#halfMoved()
      if (slot === undefined || this.#moving.size > 0 || !this.#world.isHealthy) {
        this.#world.time.after(RETRY_MS, round, owner)
        return
      }
      const target = this.#targetOf(slot)
      this.#moving.add(slot)
      void this.#move(slot, target, 1, undefined).then(outcome => {
        this.#world.trace.note(`slot ${slot} finished: ${outcome}`)
        this.#moving.delete(slot)
        this.#world.time.after(1, round, owner)
      })
    }
    this.#world.time.after(0, round, owner)
  }

  async #move(
    slot: number,
    targetId: string | undefined,
    pauseMs: number,
    diesAfter: number | undefined
  ): Promise<string> {
    const { time } = this.#world
    const rest = (): Promise<void> =>
      new Promise(resolve => {
        time.after(pauseMs, resolve)
      })
    if (targetId === undefined) return this.#clearMarks(slot)
    /** The source that this mover marked while the target had no keys. */
    let begunAt: SimulatedNode | undefined
    for (let steps = 0, tries = 0; ; tries++) {
      if (tries > 100) return 'given up'
      if (tries > 0) {
        await new Promise<void>(resolve => {
          time.after(RETRY_MS, resolve)
        })
      }
      const source = this.#world.ownerOf(slot)
      const target = this.#masterNow(targetId)
      if (
        source === undefined ||
        target === undefined ||
        !this.#isUsable(source) ||
        !this.#isUsable(target)
      ) {
        continue
      }
      if (source === target) return this.#clearMarks(slot)
      const isSure = source.view.migrating.has(slot) && begunAt === source
      const isContested = !isSure && target.db.keysIn(slot).length > 0
      begunAt = isContested ? undefined : source
      if (diesAfter !== undefined && steps++ >= diesAfter) return 'the mover dies'
      if (target.view.owners[slot] !== target.id) {
        this.#world.bus.setOwner(target, slot, source.id)
      }
      target.view.importing.set(slot, source.id)
      await rest()
      if (diesAfter !== undefined && steps++ >= diesAfter) return 'the mover dies'
      if (!this.#isOwner(source, slot)) continue
      source.view.migrating.set(slot, target.id)
      await rest()
      let isBroken = false
      for (
        let key = source.db.keysIn(slot)[0];
        key !== undefined;
        key = source.db.keysIn(slot)[0]
      ) {
        if (diesAfter !== undefined && steps++ >= diesAfter) return 'the mover dies'
        if (
          !this.#isOwner(source, slot) ||
          !this.#isUsable(source) ||
          !this.#isUsable(target) ||
          !this.#migrate(key, source, target, isContested)
        ) {
          isBroken = true
          break
        }
        this.#inTransit.add(slot)
        const isReplicated = await this.#replicated(target)
        this.#inTransit.delete(slot)
        if (!isReplicated) {
          isBroken = true
          break
        }
        await rest()
      }
      if (
        isBroken ||
        !this.#isOwner(source, slot) ||
        !this.#isUsable(source) ||
        !this.#isUsable(target) ||
        source.db.keysIn(slot).length > 0
      ) {
        continue
      }
      if (diesAfter !== undefined && steps++ >= diesAfter) return 'the mover dies'
      this.#assign(slot, source, target)
      return `moved from ${source.name} to ${target.name}`
    }
  }

  // Tells the target first, then the source, then the other masters that answer.
  #assign(slot: number, source: SimulatedNode, target: SimulatedNode): void {
    const { bus } = this.#world
    target.view.importing.delete(slot)
    bus.setOwner(target, slot, target.id)
    const highest = Math.max(...[...target.view.peers.values()].map(({ epoch }) => epoch))
    if (target.view.me.epoch < highest || target.view.me.epoch === 0) {
      target.view.currentEpoch = Math.max(target.view.currentEpoch, highest) + 1
      target.view.setEpoch(target.view.me, target.view.currentEpoch)
    }
    bus.setOwner(source, slot, target.id)
    source.view.migrating.delete(slot)
    source.view.setEpoch(source.view.peer(target.id), target.view.me.epoch)
    for (const other of this.#world.nodes) {
      if (other !== source && other !== target && this.#isUsable(other)) {
        bus.setOwner(other, slot, target.id)
      }
    }
  }

  /** Returns false if the two nodes cannot reach each other. */
  #migrate(
    key: string,
    source: SimulatedNode,
    target: SimulatedNode,
    isContested: boolean
  ): boolean {
    const { network, trace } = this.#world
    if (
      !network.passes(source.owner, target.owner) ||
      !network.passes(target.owner, source.owner)
    ) {
      return false
    }
    if (!source.view.peer(target.id).isFailed && !target.isMaster) return false
    // CLUSTERDOWN Hash slot not served
    if (target.view.owners[slotOf(key)] === undefined) return false
    const here = source.db.values.get(key)
    const there = target.db.values.get(key)
    if (here === undefined) return true
    const expiry = source.db.expiries.get(key)
    const value = there === undefined || !isContested ? here : settle(key, source, target)
    if (there !== undefined && isContested) {
      this.#world.onConflict()
      trace.note(`both ${source.name} and ${target.name} have ${key}`)
    }
    const restore = { key, value: cloneOf(value), expiry }
    target.restore(restore)
    target.propagate([restore])
    source.db.delete(key)
    source.propagate([['DEL', key]])
    return true
  }

  async #replicated(target: SimulatedNode): Promise<boolean> {
    const { time } = this.#world
    const { offset } = target
    for (const until = time.now + REPLICA_MS_MAX; time.now < until;) {
      const online = [...target.links].filter(({ state }) => state === 'online')
      if (online.length === 0 || target.acknowledgements(offset) > 0) return true
      for (const link of online) link.ask()
      await new Promise<void>(resolve => {
        time.after(5, resolve)
      })
    }
    return false
  }

  #isUsable(node: SimulatedNode): boolean {
    return (
      node.isRunning &&
      node.isMaster &&
      node.mood !== 'loading' &&
      node.owner.pausedUntil <= this.#world.time.now
    )
  }

  #isOwner(node: SimulatedNode, slot: number): boolean {
    return node.isRunning && node.isMaster && node.view.owners[slot] === node.id
  }

  // The node itself, or the master that it is a replica of now.
  #masterNow(id: string): SimulatedNode | undefined {
    const node = this.#world.node(id)
    if (node.isMaster) return node
    return node.view.me.masterId === undefined ? undefined : this.#world.node(node.view.me.masterId)
  }

  // Removes the marks that have lost their meaning. A node that still has keys of the slot keeps
  // its mark: those keys must move first.
  #clearMarks(slot: number): string {
    const owner = this.#world.ownerOf(slot)
    for (const node of this.#world.nodes) {
      if (node !== owner && node.db.keysIn(slot).length > 0) continue
      node.view.migrating.delete(slot)
      node.view.importing.delete(slot)
    }
    return 'is where it should be'
  }

  #halfMoved(): number[] {
    const found = new Set<number>()
    for (const node of this.#world.nodes) {
      if (!node.isRunning || !node.isMaster) continue
      for (const slot of [...node.view.migrating.keys(), ...node.view.importing.keys()]) {
        found.add(slot)
      }
      for (const key of node.db.values.keys()) {
        const slot = slotOf(key)
        if (this.#world.ownerOf(slot) !== node) found.add(slot)
      }
    }
    return [...found].filter(slot => slot < SLOT_COUNT).sort((a, b) => a - b)
  }

  // The owner's mark decides first, then which master has keys (most first), then which expects
  // some.
  #targetOf(slot: number): string | undefined {
    const owner = this.#world.ownerOf(slot)
    const marked = owner?.view.migrating.get(slot)
    const successor = marked === undefined ? undefined : this.#masterNow(marked)
    if (successor !== undefined && successor !== owner) return successor.id
    const others = this.#world.nodes.filter(
      node => node !== owner && node.isRunning && node.isMaster
    )
    const holders = others
      .filter(node => node.db.keysIn(slot).length > 0)
      .sort((a, b) => b.db.keysIn(slot).length - a.db.keysIn(slot).length)
    return (holders[0] ?? others.find(node => node.view.importing.has(slot)))?.id
  }
}

// Two copies of a block are merged, and so are the changes beside it. Of any other key the fuller
// copy is kept. As src/cli/cluster/merge.ts and conflict.ts.
function settle(key: string, source: SimulatedNode, target: SimulatedNode): Held {
  const here = source.db.values.get(key) as Held
  const there = target.db.values.get(key) as Held
  const kind = parseKey(key)?.kind
  if (here instanceof Stream && there instanceof Stream) {
    if (kind === 'block') return mergedBlock(here, there, changedIds(key, source, target))
    return there.added > here.added ? there : here
  }
  if (kind === 'changed' && here instanceof Map && there instanceof Map) {
    return mergedChanges(here, there)
  }
  if (typeof here === 'string' && typeof there === 'string') {
    return Number(there) > Number(here) ? there : here
  }
  return sizeOf(there) > sizeOf(here) ? there : here
}

function changedIds(block: string, ...nodes: readonly SimulatedNode[]): Id[] {
  const ids = nodes.flatMap(({ db }) => {
    const changes = db.values.get(changedKey(block))
    return changes instanceof Map ? [...changes.keys()] : []
  })
  return ids.map(id => parseId(id, 0))
}

// A message that either node knows to be changed comes back in neither copy.
function mergedBlock(here: Stream, there: Stream, changed: readonly Id[]): Stream {
  const merged = here.clone()
  merged.entries = [
    ...here.entries,
    ...there.entries.filter(({ id }) => here.range(id, id).length === 0)
  ].sort((a, b) => compare(a.id, b.id))
  merged.delete(changed)
  const last = [merged.entries.at(-1)?.id ?? merged.last, ...changed]
  merged.last = last.reduce((a, b) => (compare(a, b) > 0 ? a : b))
  merged.maxDeleted = changed.reduce((a, b) => (compare(a, b) > 0 ? a : b), merged.maxDeleted)
  return merged
}

function mergedChanges(
  here: ReadonlyMap<string, string>,
  there: ReadonlyMap<string, string>
): Map<string, string> {
  const merged = new Map(there)
  const numberOf = (value = '0'): number => Number.parseInt(value, 10)
  for (const [id, value] of here) {
    if (numberOf(merged.get(id)) < numberOf(value)) merged.set(id, value)
  }
  return merged
}

const sizeOf = (value: Held): number => (value instanceof Map ? value.size : 0)
