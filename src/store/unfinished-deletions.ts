// The rooms whose deletion is under way, over all processes, so that a deletion is finished even if
// its process dies. Each room is listed before it is deleted, with the ms until which somebody is
// at it; they put that off while they go on. A process that finds it overdue takes over. Invariant:
// whoever takes a room from the list has cleaned it, and nobody has listed it anew since: each
// claim has a time of its own.
// One case is left to `npm run check -- --repair`: a process that stood still for longer than its
// claim between listing a room and deleting it, and died right after that.
import { untilAcknowledged } from '../redis/acknowledged.js'
import { type Cluster } from '../redis/cluster.js'
import { script } from '../redis/script.js'
import { slotOf } from '../redis/slots.js'
import { UNFINISHED_PLACES, unfinishedKey, unfinishedPlace } from './keys.js'

/** A room that somebody is at until this ms, unless they put it off. */
export type Claim = { readonly room: string; readonly untilMs: number }

export type HeldClaim = {
  /** Nothing of the deletion is left. @throws DialogsError as Cluster.write */
  readonly release: () => Promise<void>
  /** Somebody else has to go on, when the claim is overdue. */
  readonly drop: () => void
}

/** Renewals within the time of a claim. */
const RENEWALS = 4
/** Rooms that are looked at in one place at a time. */
const DUE_MAX = 16

/**
 * Claims a room: KEYS list, ARGV room, ms until when, and the ms of the claim that is put off or
 * taken over, or nothing. Returns the new ms, which no claim had before; nil if the room is not
 * claimed like that any more. Run twice, it may return nil: then somebody takes over in time.
 */
export const CLAIM = script(`
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[3] ~= '' and (not known or tonumber(known) ~= tonumber(ARGV[3])) then return false end
local untilMs = math.max(tonumber(ARGV[2]), known and tonumber(known) + 1 or 0)
redis.call('ZADD', KEYS[1], string.format('%.0f', untilMs), ARGV[1])
return untilMs`)

/** Takes a room from the list: KEYS list, ARGV room, ms of the claim that has to be its last. */
export const RELEASE = script(`
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not known or tonumber(known) ~= tonumber(ARGV[2]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])`)

export class UnfinishedDeletions {
  readonly #cluster: Cluster
  readonly #claimMs: number
  readonly #deadlineMs: number

  constructor(
    cluster: Cluster,
    options: { readonly claimMs: number; readonly deadlineMs: number }
  ) {
    this.#cluster = cluster
    this.#claimMs = options.claimMs
    this.#deadlineMs = options.deadlineMs
  }

  /** Lists a room, whoever else may be at it. @throws DialogsError as Cluster.write */
  async add(room: string): Promise<Claim> {
    const untilMs = await this.#claim(room, '')
    return { room, untilMs: untilMs ?? 0 }
  }

  /**
   * Puts a claim off, or takes over one that is overdue.
   * @returns undefined if somebody else has done so
   * @throws DialogsError as Cluster.write
   */
  async renew({ room, untilMs }: Claim): Promise<Claim | undefined> {
    const renewedMs = await this.#claim(room, String(untilMs))
    return renewedMs === undefined ? undefined : { room, untilMs: renewedMs }
  }

  /** Keeps a claim until it is released or dropped. If another process took over, both go on. */
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

  /** Nothing of the deletion is left. @throws DialogsError as Cluster.write */
  async release({ room, untilMs }: Claim): Promise<void> {
    const key = unfinishedKey(unfinishedPlace(room))
    const args = ['EVALSHA', RELEASE.sha, '1', key, room, String(untilMs)]
    await this.#cluster.write(slotOf(key), args, performance.now() + this.#deadlineMs)
  }

  /** Rooms that somebody has begun to delete, and is not at any more. */
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
    const now = Date.now()
    return found.flat().filter(({ untilMs }) => untilMs < now)
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
