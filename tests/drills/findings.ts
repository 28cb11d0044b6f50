// The result of an experiment: lines with figures for people, and the broken promises.

import { type Rights } from './rights.js'

export type Findings = {
  readonly figures: readonly string[]
  readonly violations: readonly string[]
}

export type Experiment = {
  readonly about: string
  /** @param scale 1 is full size; a smaller run is shorter, with the same promises */
  readonly hold: (options: {
    readonly scale: number
    readonly seed: number
    readonly report: (line: string) => void
    /** Only where the services ask for tokens; they are for all rooms. */
    readonly rights?: Rights | undefined
  }) => Promise<Findings>
}

/** Full size times scale, but at least `min`. */
export const scaled = (full: number, scale: number, min = 1): number =>
  Math.max(min, Math.round(full * scale))
