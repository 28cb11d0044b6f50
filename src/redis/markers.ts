// How the service notices that Redis has lost data: 64 small keys, spread evenly over the slots,
// that are written when a cluster is first used and never removed. A master that comes back empty
// lacks its own. Invariant: once all of them have been seen, one that is gone means lost data,
// until somebody says otherwise (`npm run accept-loss`). Without them an empty master would look
// like a cluster in which nobody has written yet: its rooms would begin again with message 1. Not
// noticed: a loss that spares the marker keys, and the loss of all masters' data while no process
// of the service runs; that looks like a new cluster.
import { DialogsError } from '../errors.js'
import { isRedisError, type Reply } from './connection.js'
import { SLOT_COUNT, slotOf } from './slots.js'
import { type Topology } from './topology.js'

export type MarkersOptions = {
  /** Answers what a slot's owner has; undefined where that cannot be known now. */
  readonly get: (slot: number, key: string) => Promise<Reply | undefined>
  /** Writes and waits for a replica. */
  readonly set: (slot: number, args: string[]) => Promise<void>
  /** Whether a move that broke off may have left the key at another node. */
  readonly isStranded: (key: string) => Promise<boolean>
  readonly topology: () => Topology
}

const MARKERS = 64
const NAMED_MAX = 3
/** How many a node is asked for when it is connected to. */
const ASKED_MAX = 8

/** Being written for the first time; if that breaks off, some are missing and nothing is lost. */
const BEGUN = 'begun'
const COMPLETE = 'complete'

export type Marker = { readonly key: string; readonly slot: number }

/** One in each band of 256 slots. */
export const markers: readonly Marker[] = findMarkers()

function findMarkers(): Marker[] {
  const bands = new Map<number, Marker>()
  for (let tag = 0; bands.size < MARKERS; tag++) {
    const key = `dialogs:{${tag}}:marker`
    const slot = slotOf(key)
    const band = Math.floor(slot / (SLOT_COUNT / MARKERS))
    if (!bands.has(band)) bands.set(band, { key, slot })
  }
  return [...bands.values()]
}

export class Markers {
  readonly #options: MarkersOptions
  #areKnown = false

  constructor(options: MarkersOptions) {
    this.#options = options
  }

  /** All have been seen: from now on one that is gone means lost data. */
  get areKnown(): boolean {
    return this.#areKnown
  }

  /**
   * Reads all of them, and writes them where there were none. Answers STORE_LOST when some are
   * gone.
   */
  async check(): Promise<DialogsError | undefined> {
    const values = await Promise.all(markers.map(({ slot, key }) => this.#options.get(slot, key)))
    const isWhole = values.every(value => value !== undefined)
    if (
      isWhole &&
      !this.#areKnown &&
      (values.every(value => value === null) || values.includes(BEGUN))
    ) {
      await this.write()
    } else if (values.includes(null) && (this.#areKnown || values.includes(COMPLETE))) {
      return await this.#judge(markers.filter((_, index) => values[index] === null))
    } else if (isWhole) {
      this.#areKnown = true
    }
    return undefined
  }

  /** Writes all of them, whatever is there. */
  async write(): Promise<void> {
    // The second word only when the first is everywhere: if this breaks off, it can be told from a
    // loss.
    for (const word of [BEGUN, COMPLETE]) {
      await Promise.all(markers.map(({ slot, key }) => this.#options.set(slot, ['SET', key, word])))
    }
    this.#areKnown = true
  }

  /**
   * Asks a master that was just connected to for some of its markers, so that an empty one is
   * refused before it is used.
   * @throws DialogsError STORE_LOST, or the error of a node that cannot tell yet
   */
  async verify(node: string, get: (key: string) => Promise<Reply>): Promise<void> {
    if (!this.#areKnown) return
    const own = this.#ownOf(node).slice(0, ASKED_MAX)
    // A single one might be half-way to another node; `check` looks into that.
    if (own.length < 2) return
    const values = await Promise.all(own.map(({ key }) => get(key).catch(elsewhere)))
    if (values.every(value => value === null)) throw lost([node])
  }

  #ownOf(node: string): readonly Marker[] {
    const topology = this.#options.topology()
    return markers.filter(({ slot }) => topology.ownerOf(slot) === node)
  }

  async #judge(missing: readonly Marker[]): Promise<DialogsError | undefined> {
    const stranded = await Promise.all(missing.map(({ key }) => this.#options.isStranded(key)))
    const gone = missing.filter((_, index) => stranded[index] !== true)
    if (gone.length === 0) return undefined
    const topology = this.#options.topology()
    return lost([
      ...new Set(gone.map(({ slot }) => topology.ownerOf(slot) ?? 'a node that is not known'))
    ])
  }
}

export const isLoss = (error: unknown): boolean =>
  error instanceof DialogsError && error.code === 'STORE_LOST'

// It is not this node's to have.
function elsewhere(error: unknown): undefined {
  if (isRedisError(error) && /^(MOVED|ASK) /.test(error.message)) return undefined
  throw error
}

function lost(nodes: readonly string[]): DialogsError {
  const named =
    nodes.length > NAMED_MAX
      ? `${nodes.slice(0, NAMED_MAX).join(', ')} and ${nodes.length - NAMED_MAX} more`
      : nodes.join(', ')
  return new DialogsError(
    'STORE_LOST',
    `Redis has lost data: ${named} no longer ${nodes.length === 1 ? 'has' : 'have'} what the service had stored there. Restore it from a replica or a backup, or give it up by npm run accept-loss.`
  )
}
