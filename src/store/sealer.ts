// Seals a room's log: moves its oldest entries from the tail to segments of their own, so that no
// key grows with the number of messages. Invariant: at every moment every committed sequence is in
// the tail or in a segment, because a segment is written and acknowledged before the tail is
// trimmed.
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { type Written } from '../redis/node-pipeline.js'
import { slotOf } from '../redis/slots.js'
import { timeOf } from '../message/message.js'
import { copyKey, logKey, roomSlot, segmentKey } from './keys.js'
import { isDeletion, type Log } from './log.js'
import { SEAL, SEAL_BY_COPY } from './log-scripts.js'
import { type LogEntry, type Pieces } from './pieces.js'
import { type Retention } from './retention.js'
import { NEEDS_COPY, TOUCH_KEY } from './scripts.js'

export class Sealer {
  readonly #cluster: Cluster
  readonly #pieces: Pieces
  readonly #log: Log
  readonly #retention: Retention
  readonly #onFault: (error: unknown) => void
  readonly #sealing = new Map<string, Promise<void>>()

  constructor(
    cluster: Cluster,
    parts: { readonly pieces: Pieces; readonly log: Log; readonly retention: Retention },
    onFault: (error: unknown) => void
  ) {
    this.#cluster = cluster
    this.#pieces = parts.pieces
    this.#log = parts.log
    this.#retention = parts.retention
    this.#onFault = onFault
  }

  /** Starts sealing if the entries from `first` to `last`, just committed, complete a segment. */
  committed(room: string, first: number, last: number): void {
    const { segmentLength } = this.#pieces
    if (Math.floor(last / segmentLength) > Math.floor((first - 1) / segmentLength)) {
      this.seal(room).catch(this.#onFault)
    }
  }

  /**
   * Seals the oldest segments while the tail is longer than two segments. Anybody may call it at
   * any time, even twice at once, because the same entries are written to the same key.
   * @throws DialogsError as Cluster.write; STORE_UNAVAILABLE if the tail does not begin where a
   * segment does, which only `npm run check` can explain
   */
  async seal(room: string): Promise<void> {
    const running = this.#sealing.get(room)
    if (running !== undefined) return await running
    const sealing = this.#sealOldest(room).finally(() => {
      this.#sealing.delete(room)
    })
    this.#sealing.set(room, sealing)
    await sealing
  }

  async #sealOldest(room: string): Promise<void> {
    const key = logKey(room)
    const { segmentLength } = this.#pieces
    for (;;) {
      const oldest = await this.#pieces.oldestOfTail(room, segmentLength)
      const first = oldest[0]
      const head = (await this.#log.head(room))?.seq ?? 0
      // Decided by the entries just read and not by the present length of the tail: other processes
      // may have trimmed it since, even completely.
      if (first === undefined || head - first.seq < 2 * segmentLength) return
      const segment = Math.floor((first.seq - 1) / segmentLength)
      const next = (segment + 1) * segmentLength + 1
      const entries = oldest.filter(({ seq }) => seq < next)
      // After a deletion the log begins in the middle of a segment.
      const isAtStart = first.seq === segment * segmentLength + 1 || isDeletion(first.reference)
      if (!isAtStart || entries.at(-1)?.seq !== next - 1) {
        throw new DialogsError(
          'STORE_UNAVAILABLE',
          `The log of room ${room} does not start at a segment: run npm run check -- --room ${room}`
        )
      }
      // A segment would survive a failover that takes the end of the log back. So only what a
      // replica of the log has may be sealed.
      const logged = await this.#cluster.write(roomSlot(room), ['EVALSHA', TOUCH_KEY.sha, '1', key])
      await logged.replicated
      const target = segmentKey(room, segment)
      // Only what a replica of the segment has may be trimmed from the tail.
      await this.#write(
        target,
        first.seq,
        entries.map(entry => entry.reference ?? '')
      )
      // If the room was deleted meanwhile, nobody else would remove this segment.
      if ((await this.#log.deletion(room)).seq > first.seq) {
        await this.#cluster.command(slotOf(target), ['UNLINK', target])
        return
      }
      await this.#expire(room, target, entries)
      await this.#cluster.command(roomSlot(room), ['XTRIM', key, 'MINID', `0-${next}`])
      this.#log.noteSealed(room, next - 1)
    }
  }

  // A segment expires after its newest message.
  async #expire(room: string, segment: string, entries: readonly LogEntry[]): Promise<void> {
    const newestMs = Math.max(...entries.map(({ reference }) => timeOf(reference)))
    const expiryMs = this.#retention.expiryMs(room, newestMs)
    if (expiryMs === undefined) return
    const args = ['PEXPIREAT', segment, String(expiryMs)]
    const { replicated } = await this.#cluster.write(slotOf(segment), args)
    await replicated
  }

  async #write(segment: string, first: number, references: readonly string[]): Promise<void> {
    const write = (args: string[]): Promise<Written> =>
      this.#cluster.write(slotOf(segment), ['EVALSHA', ...args, String(first), ...references])
    const sealed = await write([SEAL.sha, '1', segment])
    const { replicated } =
      sealed.reply === NEEDS_COPY
        ? await write([SEAL_BY_COPY.sha, '2', segment, copyKey(segment)])
        : sealed
    await replicated
  }
}
