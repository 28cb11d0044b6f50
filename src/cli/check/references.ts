// The references of a room's log, by block, so that each block is read once and compared with
// everything that refers to it. Invariant: exact, with bounded memory. A room with more references
// than the bound is checked in several passes over its log, each for some of its blocks. A
// reference costs 24 bytes, a block about 200.
import { blockNumber, type ChangeMark, type Reference } from '../../message/message.js'

/** An entry of a block, by its id. `seq` is the log entry that refers to it. */
export type Referred = { readonly ms: number; readonly n: number; readonly seq: number }

export type EntryId = { readonly ms: number; readonly n: number }

const NONE: ReadonlyMap<string, ChangeMark> = new Map()

export class References {
  /** For each block a flat list of ms, n, seq, ms, n, seq …, in the order of the log. */
  readonly #byTag = new Map<string, number[]>()

  readonly #changes = new Map<string, Map<string, ChangeMark>>()

  add({ tag, id, ms }: Reference, seq: number): void {
    const n = Number(id.slice(id.indexOf('-') + 1))
    const known = this.#byTag.get(tag)
    if (known === undefined) this.#byTag.set(tag, [ms, n, seq])
    else known.push(ms, n, seq)
  }

  /** Records a change that the log announces. Later changes must come later. */
  addChange({ tag, id }: Reference, change: ChangeMark): void {
    const known = this.#changes.get(tag)
    if (known === undefined) this.#changes.set(tag, new Map([[id, change]]))
    else if ((known.get(id)?.n ?? 0) <= change.n) known.set(id, change)
  }

  /** The last change of each message of a block that the log announces, by entry id. */
  changesOf(tag: string): ReadonlyMap<string, ChangeMark> {
    return this.#changes.get(tag) ?? NONE
  }

  get tags(): Iterable<string> {
    return this.#byTag.keys()
  }

  /** The references to a block, ordered by entry and then by sequence. */
  to(tag: string): Referred[] {
    const flat = this.#byTag.get(tag) ?? []
    const referred: Referred[] = []
    for (let index = 0; index < flat.length; index += 3) {
      referred.push({ ms: flat[index] ?? 0, n: flat[index + 1] ?? 0, seq: flat[index + 2] ?? 0 })
    }
    return referred.sort((a, b) => compare(a, b) || a.seq - b.seq)
  }
}

/**
 * The pass that a block belongs to. A user's blocks are dealt out in turn, so that the passes are
 * about equal.
 */
export function passOf(tag: string, passes: number): number {
  let hash = 0
  for (let index = 0; index < tag.lastIndexOf('.'); index++) {
    hash = (Math.imul(hash, 31) + tag.charCodeAt(index)) >>> 0
  }
  return (hash + blockNumber(tag)) % passes
}

export type Comparison = {
  /** In the log, but not in the block. */
  readonly lost: Referred[]
  /** In the log at least twice: the later ones, each with the first. */
  readonly doubled: Array<{ readonly again: Referred; readonly first: Referred }>
  /** In the block, but not in the log. */
  readonly unreferred: EntryId[]
}

/**
 * Compares the references to a block with the block's own entries, which come page by page. Both
 * are in the order of the block.
 */
export class Merge {
  readonly #referred: readonly Referred[]
  #next = 0

  constructor(referred: readonly Referred[]) {
    this.#referred = referred
  }

  /** Takes the next entries of the block. An empty page means the end. */
  take(page: readonly EntryId[]): Comparison {
    const comparison: Comparison = { lost: [], doubled: [], unreferred: [] }
    for (const id of page) {
      this.#skip(referred => compare(referred, id) < 0, comparison, true)
      const before = this.#next
      this.#skip(referred => compare(referred, id) === 0, comparison, false)
      if (this.#next === before) comparison.unreferred.push(id)
    }
    if (page.length === 0) this.#skip(() => true, comparison, true)
    return comparison
  }

  #skip(
    isPassed: (referred: Referred) => boolean,
    { lost, doubled }: Comparison,
    isLost: boolean
  ): void {
    for (
      let referred = this.#referred[this.#next];
      referred !== undefined && isPassed(referred);
      referred = this.#referred[++this.#next]
    ) {
      const previous = this.#referred[this.#next - 1]
      if (previous !== undefined && compare(previous, referred) === 0) {
        doubled.push({ again: referred, first: previous })
      } else if (isLost) lost.push(referred)
    }
  }
}

export const compare = (a: EntryId, b: EntryId): number => a.ms - b.ms || a.n - b.n

/** Parses `<ms>-<n>`. */
export function entryIdOf(id: string): EntryId {
  const dash = id.indexOf('-')
  return { ms: Number(id.slice(0, dash)), n: Number(id.slice(dash + 1)) }
}
