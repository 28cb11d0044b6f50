// The keys of one Redis node: values, and when they expire. Knows no cluster and no commands.
// Invariant: as in Redis, an empty value is no key, unless it is a stream.
import { slotOf } from '../../src/redis/slots.js'
import { ReplyError } from './resp.js'
import { Stream } from './streams.js'

export type Held = string | Map<string, string> | SortedSet | Stream

/** Members by score. Small: it is sorted when it is read. */
export class SortedSet {
  readonly kind = 'zset'
  readonly scores: Map<string, number>

  constructor(scores: Iterable<readonly [string, number]> = []) {
    this.scores = new Map(scores)
  }

  sorted(): Array<readonly [member: string, score: number]> {
    return [...this.scores].sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1))
  }
}

const WRONG_TYPE = new ReplyError(
  'WRONGTYPE Operation against a key holding the wrong kind of value'
)

export class Keyspace {
  readonly values = new Map<string, Held>()
  readonly expiries = new Map<string, number>()

  clone(): Keyspace {
    const copy = new Keyspace()
    for (const [key, value] of this.values) copy.values.set(key, cloneOf(value))
    for (const [key, at] of this.expiries) copy.expiries.set(key, at)
    return copy
  }

  isExpired(key: string, clockMs: number): boolean {
    const at = this.expiries.get(key)
    return at !== undefined && at <= clockMs
  }

  set(key: string, value: Held): void {
    this.values.set(key, value)
  }

  delete(key: string): boolean {
    this.expiries.delete(key)
    return this.values.delete(key)
  }

  string(key: string): string | undefined {
    const value = this.values.get(key)
    if (value !== undefined && typeof value !== 'string') throw WRONG_TYPE
    return value
  }

  hash(key: string): Map<string, string> | undefined {
    const value = this.values.get(key)
    if (value !== undefined && !(value instanceof Map)) throw WRONG_TYPE
    return value
  }

  sortedSet(key: string): SortedSet | undefined {
    const value = this.values.get(key)
    if (value !== undefined && !(value instanceof SortedSet)) throw WRONG_TYPE
    return value
  }

  stream(key: string): Stream | undefined {
    const value = this.values.get(key)
    if (value !== undefined && !(value instanceof Stream)) throw WRONG_TYPE
    return value
  }

  keysIn(slot: number): string[] {
    return [...this.values.keys()].filter(key => slotOf(key) === slot)
  }
}

export function cloneOf(value: Held): Held {
  if (typeof value === 'string') return value
  if (value instanceof Map) return new Map(value)
  if (value instanceof SortedSet) return new SortedSet(value.scores)
  return value.clone()
}

export function typeOf(value: Held | undefined): string {
  if (value === undefined) return 'none'
  if (typeof value === 'string') return 'string'
  return value instanceof Map ? 'hash' : value.kind
}
