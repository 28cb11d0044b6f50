// One of the places where the processes of the service know of each other: a sorted set of signs of
// life, each with the time until which it counts, and a short stream of what is in doubt. One
// script renews a sign, turns overdue signs into doubts, adds this process's own doubts, and
// returns what is new. Invariant: whatever is added to the stream, a process that was signed before
// hears of it, or hears that it may have missed something. Any of its data may be lost at any time:
// that costs one look at everything.
import { type Cluster } from '../redis/cluster.js'
import { script } from '../redis/script.js'
import { type PeerPlace } from './keys.js'

/** What one entry of the stream says. */
export type Doubt =
  | { readonly kind: 'gone'; readonly peer: string }
  | { readonly kind: 'channels'; readonly id: string; readonly channels: readonly string[] | 'all' }
  /** The stream does not go back to what this process has heard last. */
  | { readonly kind: 'missed' }

/** Entries that a stream keeps; a process that was away for longer looks at everything. */
const DOUBTS_MAX = 64
/** Doubts that wait because a place cannot be reached. Beyond this, everything is in doubt. */
const WAITING_MAX = 16
/** More than the longest life of a sign: what is later was written before the clock went back. */
const AHEAD_MS_MAX = 120_000
/** The others may as well take this process for vanished: a stop must not wait long for it. */
const LEAVE_MS_MAX = 1000
const ALL = '*'

/**
 * KEYS signs, doubts, clock; ARGV peer, ms for which its sign counts, the last entry that it has
 * heard or nothing, then its own doubts. Returns the entries from that one on, or the last one. The
 * time is that of Redis, read off the expiry of a key: TIME would need a permission of its own.
 */
export const SIGN = script(`
local signs, doubts, clock = KEYS[1], KEYS[2], KEYS[3]
local peer, since = ARGV[1], ARGV[3]
redis.call('SET', clock, peer, 'PX', ARGV[2])
local untilMs = redis.call('PEXPIRETIME', clock)
local now = untilMs - ARGV[2]
redis.call('ZADD', signs, string.format('%.0f', untilMs), peer)
local function say (field, value) redis.call('XADD', doubts, '*', field, value) end
while true do
  local first = redis.call('ZRANGE', signs, 0, 0, 'WITHSCORES')
  if tonumber(first[2]) >= now then break end
  redis.call('ZREM', signs, first[1])
  say('gone', first[1])
end
while true do
  local last = redis.call('ZREVRANGE', signs, 0, 0, 'WITHSCORES')
  if tonumber(last[2]) <= now + ${AHEAD_MS_MAX} then break end
  redis.call('ZADD', signs, string.format('%.0f', untilMs), last[1])
end
for i = 4, #ARGV do say('doubt', ARGV[i]) end
redis.call('XTRIM', doubts, 'MAXLEN', ${DOUBTS_MAX})
local news = since ~= '' and redis.call('XRANGE', doubts, since, '+') or {}
if #news > 0 then return news end
news = redis.call('XREVRANGE', doubts, '+', '-', 'COUNT', 1)
if #news > 0 then return news end
say('began', peer)
return redis.call('XREVRANGE', doubts, '+', '-', 'COUNT', 1)`)

/** Ends a sign in peace: KEYS signs; ARGV peer. */
export const UNSIGN = script(`return redis.call('ZREM', KEYS[1], ARGV[1])`)

type Entry = readonly [id: string, fields: readonly [field: string, value: string]]

export class Place {
  readonly #cluster: Cluster
  readonly #keys: PeerPlace
  readonly #peer: string
  readonly #vanishedMs: number
  #since = ''
  #waiting: string[] = []
  #signedAt = -Infinity
  #signing: Promise<readonly Doubt[]> | undefined

  constructor(cluster: Cluster, keys: PeerPlace, peer: string, vanishedMs: number) {
    this.#cluster = cluster
    this.#keys = keys
    this.#peer = peer
    this.#vanishedMs = vanishedMs
  }

  /** When this process last signed here, by performance.now(). */
  get signedAt(): number {
    return this.#signedAt
  }

  /** Has the next sign tell the others. It is told until it was heard. */
  add(id: string, channels: readonly string[] | 'all'): void {
    const text = [id, ...(channels === 'all' ? [ALL] : channels)].join('\n')
    if (this.#waiting.length < WAITING_MAX) this.#waiting.push(text)
    else this.#waiting = [`${id}\n${ALL}`]
  }

  /** Signs, and returns what is new. Calls made meanwhile share it. @throws as Cluster.command */
  async sign(): Promise<readonly Doubt[]> {
    this.#signing ??= this.#sign().finally(() => {
      this.#signing = undefined
    })
    return await this.#signing
  }

  /** @throws as Cluster.command */
  async unsign(): Promise<void> {
    await this.#signing?.catch(() => undefined)
    await this.#cluster.command(
      this.#keys.slot,
      ['EVALSHA', UNSIGN.sha, '1', this.#keys.signs, this.#peer],
      performance.now() + LEAVE_MS_MAX
    )
  }

  async #sign(): Promise<readonly Doubt[]> {
    const { slot, signs, doubts, clock } = this.#keys
    const startedAt = performance.now()
    const waiting = [...this.#waiting]
    const since = this.#since
    const args = [this.#peer, String(this.#vanishedMs), since, ...waiting]
    const reply = await this.#cluster.command(
      slot,
      ['EVALSHA', SIGN.sha, '3', signs, doubts, clock, ...args],
      startedAt + this.#vanishedMs / 2
    )
    // The reply of XRANGE or XREVRANGE, of entries with one field each.
    const entries = reply as unknown as readonly Entry[]
    this.#signedAt = startedAt
    this.#waiting = this.#waiting.filter(text => !waiting.includes(text))
    this.#since = entries.at(-1)?.[0] ?? ''
    if (since === '') return []
    if (entries[0]?.[0] !== since) return [{ kind: 'missed' }]
    return entries.slice(1).flatMap(([, [field, value]]) => doubtIn(field, value))
  }
}

function doubtIn(field: string, value: string): Doubt[] {
  if (field === 'gone') return [{ kind: 'gone', peer: value }]
  if (field !== 'doubt') return []
  const [id = '', ...channels] = value.split('\n')
  return [{ kind: 'channels', id, channels: channels[0] === ALL ? 'all' : channels }]
}
