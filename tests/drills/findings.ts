// What came of an experiment that is no trial: lines with figures to read, and what was not as promised.

export type Findings = { readonly figures: readonly string[], readonly violations: readonly string[] }

export type Experiment = {
  readonly about: string
  /** @param scale 1 is full size; less is shorter and smaller, with the same promises */
  readonly hold: (options: { readonly scale: number, readonly seed: number, readonly report: (line: string) => void }) => Promise<Findings>
}

/** Full size times scale, and never less than `min`. */
export const scaled = (full: number, scale: number, min = 1): number => Math.max(min, Math.round(full * scale))
