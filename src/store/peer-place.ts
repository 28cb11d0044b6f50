// One of the three places in Redis where the processes of the service hear of each other. It has a
// sorted set of signs of life, each with the time until which it counts, and a short stream of
// doubts: what the processes tell each other. One script renews a sign, turns overdue signs into
// doubts, adds this process's own doubts, and returns what is new. Invariant: every process that
// has signed before hears of each entry that is added to the stream, or hears that it may have
// missed something. All of this data may be lost at any time; that costs each process one look at
// everything.
import { type Cluster } from '../redis/cluster.js'
import { script } from '../redis/script.js'
import { type PeerKeys } from './keys.js'

/** What one entry of the stream says. */
export type Doubt =
  | { readonly kind: 'gone'; readonly peer: string }
  | { readonly kind: 'channels'; readonly id: string; readonly channels: readonly string[] | 'all' }
  /** The stream does not go back to the entry that this process heard last. */
  | { readonly kind: 'missed' }

/** How many entries the stream keeps. A process that has missed more looks at everything. */
const DOUBTS_MAX = 64
/** How many doubts wait while a place cannot be reached. Beyond this, everything is in doubt. */
const WAITING_MAX = 16
/**
 * More than the longest life of a sign. A sign that counts for longer was written before the clock
 * of Redis was put back.
 */
const AHEAD_MS_MAX = 120_000
/**
 * How long a farewell may take. A stop must not wait long for it: without a farewell, the others
 * take this process for vanished and look once.
 */
const LEAVE_MS_MAX = 1000
const ALL = '*'

/**
 * Renews a sign: KEYS signs, doubts, clock; ARGV peer, ms for which its sign counts, the last entry
 * of the stream that it has heard (empty if none), then its own doubts. Returns the entries from
 * that one on; if it is gone, or none was given, only the newest entry. The time is that of Redis,
 * read off the expiry of a key, because TIME would need a permission of its own.
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

export class PeerPlace {
  readonly #cluster: Cluster
  readonly #keys: PeerKeys
  readonly #peer: string
  readonly #vanishedMs: number
  #since = ''
  #waiting: string[] = []
  #signedAt = -Infinity
  #signing: Promise<readonly Doubt[]> | undefined

  constructor(cluster: Cluster, keys: PeerKeys, peer: string, vanishedMs: number) {
    this.#cluster = cluster
    this.#keys = keys
    this.#peer = peer
    this.#vanishedMs = vanishedMs
  }

  /** When this process last signed here, by performance.now(). */
  get signedAt(): number {
    return this.#signedAt
  }

  /** Tells the others of a doubt with the next sign, and again until a sign has succeeded. */
  add(id: string, channels: readonly string[] | 'all'): void {
    const text = [id, ...(channels === 'all' ? [ALL] : channels)].join('\n')
    if (this.#waiting.length < WAITING_MAX) this.#waiting.push(text)
    else this.#waiting = [`${id}\n${ALL}`]
  }

  /**
   * Signs, and returns what is new. Calls made while it is in flight share it.
   * @throws as Cluster.command
   */
  async sign(): Promise<readonly Doubt[]> {
    this.#signing ??= this.#sign().finally(() => {
      this.#signing = undefined
    })
    return await this.#signing
  }

  /** Takes the sign away: the process stops in peace. @throws as Cluster.command */
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
