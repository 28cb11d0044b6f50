// Tells watchers how the cluster changes. While there are watchers, the cluster is looked at once
// per interval, however many they are; otherwise it is left alone. A watcher first gets the whole
// picture, and gets it again whenever a slot, a node or a move has changed. In between it gets only
// figures. Invariant: a slow watcher misses figures, but gets the whole picture again before the
// next ones.
import { type ClusterDescription, type ShardFigures } from '../redis/shards.js'
import { type Stream } from './stream.js'

export type ShardRates = Omit<ShardFigures, 'entriesTotal'> & {
  readonly id: string
  /** Entries added to the shard's streams per second since the last look; null at the first. */
  readonly entriesPerSecond: number | null
}

type Watcher = Pick<Stream, 'isFull' | 'write'>
type Seen = { readonly at: number; readonly description: ClusterDescription }

export class ClusterWatch {
  readonly #look: () => Promise<ClusterDescription>
  readonly #intervalMs: number
  readonly #onFault: (error: unknown) => void
  /** Each watcher, and the picture it got last. */
  readonly #watchers = new Map<Watcher, string | undefined>()
  #timer: NodeJS.Timeout | undefined
  #isLooking = false
  #last: Seen | undefined

  constructor(
    look: () => Promise<ClusterDescription>,
    {
      intervalMs,
      onFault
    }: { readonly intervalMs: number; readonly onFault: (error: unknown) => void }
  ) {
    this.#look = look
    this.#intervalMs = intervalMs
    this.#onFault = onFault
  }

  add(watcher: Watcher): void {
    this.#watchers.set(watcher, undefined)
    if (this.#timer !== undefined) return
    this.#timer = setInterval(() => {
      void this.#turn()
    }, this.#intervalMs)
    void this.#turn()
  }

  remove(watcher: Watcher): void {
    this.#watchers.delete(watcher)
    if (this.#watchers.size === 0) this.close()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#last = undefined
  }

  // If a look takes longer than the interval, no second one is started.
  async #turn(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    try {
      const description = await this.#look()
      const now = { at: performance.now(), description }
      this.#tell(now)
      this.#last = now
    } catch (error) {
      this.#onFault(error)
    } finally {
      this.#isLooking = false
    }
  }

  #tell(now: Seen): void {
    const picture = pictureOf(now.description)
    const figures = `event: figures\ndata: ${JSON.stringify(ratesBetween(this.#last, now))}\n\n`
    for (const [watcher, told] of this.#watchers) {
      if (watcher.isFull) {
        this.#watchers.set(watcher, undefined)
        continue
      }
      if (told !== picture) watcher.write(`event: cluster\ndata: ${picture}\n\n`)
      watcher.write(figures)
      this.#watchers.set(watcher, picture)
    }
  }
}

const pictureOf = ({ version, shards, moving }: ClusterDescription): string =>
  JSON.stringify({
    version,
    shards: shards.map(({ id, master, replicas, slots, slotCount }) => ({
      id,
      master,
      replicas,
      slots,
      slotCount
    })),
    moving
  })

function ratesBetween(
  before: Seen | undefined,
  { at, description: { version, shards } }: Seen
): { readonly version: string; readonly shards: readonly ShardRates[] } {
  const totals = new Map(
    before?.description.shards.map(({ id, entriesTotal }) => [id, entriesTotal])
  )
  const seconds = before === undefined ? Infinity : (at - before.at) / 1000
  return {
    version,
    shards: shards.map(shard => ({
      id: shard.id,
      keys: shard.keys,
      memoryBytes: shard.memoryBytes,
      operationsPerSecond: shard.operationsPerSecond,
      entriesPerSecond: rate(totals.get(shard.id) ?? null, shard.entriesTotal, seconds),
      replicaLagBytes: shard.replicaLagBytes
    }))
  }
}

// A restarted master counts from 0.
function rate(before: number | null, now: number | null, seconds: number): number | null {
  if (before === null || now === null || now < before) return null
  return Math.round((now - before) / seconds)
}
