// How the service notices that Redis has lost data: 64 small keys, spread evenly over the slots,
// written when a cluster is first used and never removed. A master that comes back empty lacks its
// markers. Invariant: once all markers have been seen, a missing one means lost data, until the
// operator accepts the loss (`npm run accept-loss`). Without markers an empty master would look
// like a cluster in which nobody has written yet, and its rooms would start again with message 1.
// Two losses are not noticed: one that spares the markers, and that of all masters' data while no
// process of the service runs, because it looks like a new cluster.
import { DialogsError } from '../errors.js'
import { isRedisError, type Reply } from './connection.js'
import { SLOT_COUNT, slotOf } from './slots.js'
import { type Topology } from './topology.js'

export type MarkersOptions = {
  /** Reads a key from its slot's owner; undefined if that is not possible now. */
  readonly get: (slot: number, key: string) => Promise<Reply | undefined>
  /** Writes, and waits for a replica. */
  readonly set: (slot: number, args: string[]) => Promise<void>
  /** Whether an interrupted move may have left the key on another node. */
  readonly isStranded: (key: string) => Promise<boolean>
  readonly topology: () => Topology
}

const MARKERS = 64
const NAMED_MAX = 3
/** How many markers a node is asked for on a new connection. */
const ASKED_MAX = 8

/**
 * The word that is written to all markers first. If one is found, the writing was interrupted, so
 * missing markers do not mean a loss.
 */
const BEGUN = 'begun'
const COMPLETE = 'complete'

export type Marker = { readonly key: string; readonly slot: number }

/** One marker in each band of 256 slots. */
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

  /** All markers have been seen, so a missing one now means lost data. */
  get areKnown(): boolean {
    return this.#areKnown
  }

  /**
   * Reads all markers, and writes them if there are none.
   * @returns STORE_LOST if some are missing; undefined if nothing is known to be lost
   */
  async check(): Promise<DialogsError | undefined> {
    const values = await this.#read()
    const isWhole = values.every(value => value !== undefined)
    if (
      isWhole &&
      !this.#areKnown &&
      (values.every(value => value === null) || values.includes(BEGUN))
    ) {
      await this.write()
    } else if (values.includes(null) && (this.#areKnown || values.includes(COMPLETE))) {
      return await this.#judge()
    } else if (isWhole) {
      this.#areKnown = true
    }
    return undefined
  }

  #read(): Promise<Array<Reply | undefined>> {
    return Promise.all(markers.map(({ slot, key }) => this.#options.get(slot, key)))
  }

  /** Writes all markers, whatever is there. */
  async write(): Promise<void> {
    // The second word is written only when the first one is everywhere. This tells an interruption
    // from a loss.
    for (const word of [BEGUN, COMPLETE]) {
      await Promise.all(markers.map(({ slot, key }) => this.#options.set(slot, ['SET', key, word])))
    }
    this.#areKnown = true
  }

  /**
   * Asks a newly connected master for some of its markers, so that an empty one is refused before
   * it is used.
   * @throws DialogsError STORE_LOST, or the error of a node that cannot answer yet
   */
  async verify(node: string, get: (key: string) => Promise<Reply>): Promise<void> {
    if (!this.#areKnown) return
    const own = this.#ownOf(node).slice(0, ASKED_MAX)
    // A single marker may be on its way to another node; `check` looks into that.
    if (own.length < 2) return
    const values = await Promise.all(own.map(({ key }) => get(key).catch(elsewhere)))
    if (values.every(value => value === null)) throw lost([node])
  }

  #ownOf(node: string): readonly Marker[] {
    const topology = this.#options.topology()
    return markers.filter(({ slot }) => topology.ownerOf(slot) === node)
  }

  // Markers were missing, although others were complete. Each is read at its own moment, so the
  // look may have begun before another process wrote them all, and ended after that. By now all
  // must be there.
  async #judge(): Promise<DialogsError | undefined> {
    const values = await this.#read()
    const missing = markers.filter((_, index) => values[index] === null)
    if (missing.length === 0) {
      this.#areKnown ||= !values.includes(undefined)
      return undefined
    }
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

// The marker belongs to another node.
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
    `Redis has lost data: ${named} no longer ${nodes.length === 1 ? 'has' : 'have'} what the service had stored there. Restore it from a replica or a backup, or accept the loss with npm run accept-loss.`
  )
}
