// Moves the keys of slots whose marks are set. A MIGRATE takes keys of one slot, and is all or
// nothing: the target has its keys before the source deletes them. After a failure in between, the
// keys are on the source or on both; then the source's copy is right and is sent again. A batch may
// hold keys of several slots; a replica of the target must have it before the next one is sent. The
// MIGRATEs of a batch are sent one after the other, because each one blocks the source for a second
// or longer if the target has fallen silent.
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../errors.js'
import { currentPassword } from '../../redis/password.js'
import { TOUCH_KEY } from '../../store/scripts.js'
import { type Admin } from './admin.js'
import { settleConflict } from './conflict.js'
import { keysInSlots, onlineReplicas, type SlotKey, sizesOf } from './keys.js'
import { type MapNode, nodeText } from './map.js'
import { type Tempo } from './tempo.js'

export type KeyMoverEvents = {
  readonly onMoved: (keys: number) => void
  readonly report: (line: string) => void
}

const KEYS_AT_ONCE = 100
/** How long the target may be silent during a MIGRATE, in which the source is blocked. */
const MIGRATE_MS_FIRST = 1000
const MIGRATE_MS_MAX = 8000
const REPLICA_MS_MAX = 10_000
const WAIT_MS = 500
const SETTLE_MS = 250
/**
 * After this many rounds with the same keys and none of them leaving, something is wrong with them.
 */
const ROUNDS_IN_VAIN_MAX = 5

export class KeyMover {
  readonly #admin: Admin
  readonly #tempo: Tempo
  readonly #events: KeyMoverEvents
  #migrateMs = MIGRATE_MS_FIRST

  constructor(admin: Admin, tempo: Tempo, events: KeyMoverEvents) {
    this.#admin = admin
    this.#tempo = tempo
    this.#events = events
  }

  /**
   * Moves keys until the source has none left in these slots.
   * @param contested those of the slots of which the target already has keys; the source's copies
   * are not necessarily right
   * @throws whatever the nodes answered; after `settle` it may simply be called again
   */
  async move(
    slots: readonly number[],
    source: MapNode,
    target: MapNode,
    contested: ReadonlySet<number>
  ): Promise<void> {
    let inVain = 0
    for (let before = '', left = slots; ;) {
      const found = await keysInSlots(this.#admin, source, left, KEYS_AT_ONCE)
      const [example] = found
      if (example === undefined) return
      const names = namesOf(found).join(' ')
      inVain = names === before ? inVain + 1 : 0
      if (inVain >= ROUNDS_IN_VAIN_MAX) {
        throw new Error(
          `slot ${example.slot} has keys that do not leave ${nodeText(source)}, for example ${JSON.stringify(example.key)}`
        )
      }
      before = names
      left = [...new Set(found.map(({ slot }) => slot))]
      await this.#moveAll(found, source, target, contested)
    }
  }

  /**
   * After a failed MIGRATE: waits until the target has read what was still on its way, because a
   * late copy must not arrive after a newer one and replace it. A node reads all its sockets in
   * each turn, so a node that answers now and again a while later has read them.
   */
  async settle(target: MapNode | undefined): Promise<void> {
    if (target === undefined) return
    await this.#admin.ask(target, 'PING')
    await sleep(SETTLE_MS)
    await this.#admin.ask(target, 'PING')
  }

  /**
   * Waits until a replica of the target has the keys of these slots, which another process has
   * moved there.
   */
  async confirm(slots: readonly number[], target: MapNode): Promise<void> {
    const found = await keysInSlots(this.#admin, target, slots, 1)
    await this.#replicated(target, namesOf(found))
  }

  async #moveAll(
    found: readonly SlotKey[],
    source: MapNode,
    target: MapNode,
    contested: ReadonlySet<number>
  ): Promise<void> {
    const sizes = await sizesOf(this.#admin, source, namesOf(found))
    const keys = found.map((key, index) => ({ ...key, bytes: sizes[index] ?? 0 }))
    for (let from = 0; from < keys.length;) {
      const length = this.#tempo.batchLength(sizes.slice(from))
      const batch = keys.slice(from, from + length)
      let busyMs = 0
      for (const [slot, part] of bySlot(batch)) {
        const names = namesOf(part)
        const startedMs = performance.now()
        if (contested.has(slot)) await this.#moveContested(names, source, target)
        else await this.#migrate(names, source, target, ['REPLACE'])
        const ms = performance.now() - startedMs
        busyMs += ms
        this.#tempo.took(
          ms,
          part.length,
          part.reduce((sum, { bytes }) => sum + bytes, 0)
        )
        this.#events.onMoved(part.length)
      }
      await this.#replicated(target, namesOf(batch))
      await this.#tempo.rest(busyMs)
      from += length
    }
  }

  async #migrate(
    keys: readonly string[],
    source: MapNode,
    target: MapNode,
    replace: readonly string[]
  ): Promise<void> {
    const {
      address: { host, port }
    } = target
    try {
      await this.#admin.ask(
        source,
        'MIGRATE',
        host,
        String(port),
        '',
        '0',
        String(this.#migrateMs),
        ...replace,
        ...(await this.#login()),
        'KEYS',
        ...keys
      )
    } catch (error) {
      if (messageOf(error).startsWith('IOERR')) {
        this.#migrateMs = Math.min(MIGRATE_MS_MAX, this.#migrateMs * 2)
      }
      throw error
    }
  }

  async #login(): Promise<string[]> {
    const { username } = this.#admin.target
    const password = await currentPassword(this.#admin.target.password)
    if (password === undefined) return []
    return username === undefined ? ['AUTH', password] : ['AUTH2', username, password]
  }

  // Without REPLACE, MIGRATE moves the keys that the target does not have and then answers BUSYKEY.
  async #moveContested(keys: readonly string[], source: MapNode, target: MapNode): Promise<void> {
    try {
      return await this.#migrate(keys, source, target, [])
    } catch (error) {
      if (!messageOf(error).includes('BUSYKEY')) throw error
    }
    for (const key of keys) {
      const { mustSend, line } = await settleConflict(this.#admin, source, target, key, () =>
        this.#replicated(target, [key])
      )
      if (line !== undefined) this.#events.report(line)
      if (mustSend) await this.#migrate([key], source, target, ['REPLACE'])
    }
  }

  // At any time at most one batch is on the target alone: its replica has the ones before. (Redis
  // can do no better, because the source deletes keys as soon as the target has them.) A WAIT
  // covers the writes of its own connection (since Redis 7.2 only these), but the keys were written
  // by the source's connection. So one of them is touched first, which is a write after all of
  // theirs.
  async #replicated(target: MapNode, keys: readonly string[]): Promise<void> {
    const deadline = performance.now() + REPLICA_MS_MAX
    while (performance.now() < deadline) {
      const [replicas, isTouched] = await Promise.all([
        onlineReplicas(this.#admin, target),
        this.#touchOneOf(keys, target)
      ])
      if (replicas === 0 || !isTouched) return
      if (Number(await this.#admin.ask(target, 'WAIT', '1', String(WAIT_MS))) > 0) return
    }
    throw new Error(`no replica of ${nodeText(target)} acknowledges the moved keys`)
  }

  // Clients may have deleted some in the meantime. If all are gone, there is nothing to wait for.
  async #touchOneOf(keys: readonly string[], target: MapNode): Promise<boolean> {
    for (const key of keys) {
      const [, touched] = await this.#admin.askAll(target, [
        ['ASKING'],
        ['EVAL', TOUCH_KEY.text, '1', key]
      ])
      if (touched === 1) return true
    }
    return false
  }
}

const namesOf = (keys: readonly SlotKey[]): string[] => keys.map(({ key }) => key)

function bySlot<Key extends SlotKey>(keys: readonly Key[]): Map<number, Key[]> {
  const parts = new Map<number, Key[]>()
  for (const key of keys) {
    const part = parts.get(key.slot)
    if (part === undefined) parts.set(key.slot, [key])
    else part.push(key)
  }
  return parts
}
