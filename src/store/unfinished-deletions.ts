// The list of rooms whose deletion is in progress in any process, so that a deletion is finished
// even if its process dies. A room is listed before it is deleted, with a claim: the ms until which
// some process works on it. That process puts the claim off while it goes on. If a claim is
// overdue, or nobody has put it off for as long, another process takes over. Invariant: a room is
// taken from the list only after it was cleaned, and only if nobody has listed it again since. No
// two claims of a room have the same ms, so the ms shows whether a claim is still the one that was
// made.
//
// One case is left to `npm run check -- --repair`: a process stands still for longer than its claim
// between listing a room and deleting it, and dies right after the deletion.
import { untilAcknowledged } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { script } from '../redis/script.js'
import { slotOf } from '../redis/slots.js'
import { UNFINISHED_PLACES, unfinishedKey, unfinishedPlace } from './keys.js'

/** Some process works on the deletion of a room, until this ms unless it puts that off. */
export type Claim = { readonly room: string; readonly untilMs: number }

export type HeldClaim = {
  /** The deletion is finished: takes the room from the list. @throws as Cluster.write */
  readonly release: () => Promise<void>
  /** Stops working on it. Another process goes on when the claim is overdue. */
  readonly drop: () => void
}

/** How often a claim is renewed within its time. */
const RENEWALS = 4
/** How many rooms are looked at in one place at a time. */
const DUE_MAX = 16

/**
 * Claims a room: KEYS list, ARGV room, ms until when, and the ms of the claim that is put off or
 * taken over (empty for a new claim). Returns the new ms, which no claim of the room had before;
 * nil if the claim to be replaced is not there any more. Run twice, it may return nil although the
 * first run has claimed the room: then another process takes over when that claim is overdue.
 */
export const CLAIM = script(`
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[3] ~= '' and (not known or tonumber(known) ~= tonumber(ARGV[3])) then return false end
local untilMs = math.max(tonumber(ARGV[2]), known and tonumber(known) + 1 or 0)
redis.call('ZADD', KEYS[1], string.format('%.0f', untilMs), ARGV[1])
return untilMs`)

/** Takes a room from the list, if its claim still has this ms: KEYS list, ARGV room, ms. */
export const RELEASE = script(`
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not known or tonumber(known) ~= tonumber(ARGV[2]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])`)

export class UnfinishedDeletions {
  readonly #cluster: Cluster
  readonly #claimMs: number
  readonly #deadlineMs: number
  /**
   * The listed claims, each with the time (performance.now()) at which it was first seen. The ms of
   * a claim are those of its process, whose clock may be wrong.
   */
  #seen = new Map<string, { readonly untilMs: number; readonly at: number }>()

  constructor(
    cluster: Cluster,
    options: { readonly claimMs: number; readonly deadlineMs: number }
  ) {
    this.#cluster = cluster
    this.#claimMs = options.claimMs
    this.#deadlineMs = options.deadlineMs
  }

  /**
   * Puts a room into the list, even if another process works on it.
   * @throws DialogsError as Cluster.write
   */
  async add(room: string): Promise<Claim> {
    const untilMs = await this.#claim(room, '')
    return { room, untilMs: untilMs ?? 0 }
  }

  /**
   * Puts a claim off, or takes over one that is overdue.
   * @returns undefined if another process has done so before
   * @throws DialogsError as Cluster.write
   */
  async renew({ room, untilMs }: Claim): Promise<Claim | undefined> {
    const renewedMs = await this.#claim(room, String(untilMs))
    return renewedMs === undefined ? undefined : { room, untilMs: renewedMs }
  }

  /**
   * Renews a claim until it is released or dropped. If another process has taken over nevertheless,
   * both go on.
   */
  hold(claim: Claim, onFault: (error: unknown) => void): HeldClaim {
    let held = claim
    let renewing = Promise.resolve()
    const renew = async (): Promise<void> => {
      held = (await this.renew(held)) ?? (await this.add(claim.room))
    }
    const timer = setInterval(() => {
      renewing = renewing.then(renew).catch(onFault)
    }, this.#claimMs / RENEWALS).unref()
    const drop = (): void => {
      clearInterval(timer)
    }
    const release = async (): Promise<void> => {
      drop()
      await renewing
      await this.release(held)
    }
    return { release, drop }
  }

  /** Takes a room from the list, unless it was claimed again. @throws as Cluster.write */
  async release({ room, untilMs }: Claim): Promise<void> {
    const key = unfinishedKey(unfinishedPlace(room))
    const args = ['EVALSHA', RELEASE.sha, '1', key, room, String(untilMs)]
    await this.#cluster.write(slotOf(key), args, performance.now() + this.#deadlineMs)
  }

  /** Claims that are overdue: no process seems to work on these deletions any more. */
  async overdue(): Promise<Claim[]> {
    const places = Array.from({ length: UNFINISHED_PLACES }, (_, place) => unfinishedKey(place))
    const found = await Promise.all(
      places.map(async key => {
        const args = ['ZRANGE', key, '0', String(DUE_MAX - 1), 'WITHSCORES']
        // ZRANGE answers members and scores in turn, the lowest score first.
        const reply = (await this.#cluster.command(slotOf(key), args)) as readonly string[]
        return Array.from({ length: reply.length / 2 }, (_, index) => ({
          room: reply[2 * index] ?? '',
          untilMs: Number(reply[2 * index + 1])
        }))
      })
    )
    const claims = found.flat()
    const now = Date.now()
    const at = performance.now()
    const before = this.#seen
    this.#seen = new Map(
      claims.map(({ room, untilMs }) => {
        const known = before.get(room)
        return [room, known?.untilMs === untilMs ? known : { untilMs, at }]
      })
    )
    return claims.filter(({ room, untilMs }) => {
      const unchangedMs = at - (this.#seen.get(room)?.at ?? at)
      return untilMs < now || unchangedMs > this.#claimMs
    })
  }

  async #claim(room: string, before: string): Promise<number | undefined> {
    const key = unfinishedKey(unfinishedPlace(room))
    const deadline = performance.now() + this.#deadlineMs
    const untilMs = String(Date.now() + this.#claimMs)
    let claimed: number | undefined
    await untilAcknowledged(async () => {
      const args = ['EVALSHA', CLAIM.sha, '1', key, room, untilMs, before]
      const written = await this.#cluster.write(slotOf(key), args, deadline)
      claimed = written.reply === null ? undefined : Number(written.reply)
      return written
    }, deadline)
    return claimed
  }
}
