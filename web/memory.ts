// What the page remembers: `recall` and `remember` between visits, `keptJson` and `keep` over
// reloads of this one tab, `keptPlace` and `keepPlace` for one step of the tab's history. Where
// the browser forbids storage the page remembers nothing, and works all the same.
import { type Place } from './reader-place.js'

export function recall(name: string): string {
  try {
    return localStorage.getItem(`dialogs.${name}`) ?? ''
  } catch {
    return '' // storage is switched off
  }
}

export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(`dialogs.${name}`, value)
  } catch {
    // Switched off or full: the name has to be typed again next time.
  }
}

/** @returns undefined where nothing was kept */
export function keptJson(name: string): unknown {
  try {
    return JSON.parse(sessionStorage.getItem(`dialogs.${name}`) ?? 'null') ?? undefined
  } catch {
    return undefined // storage is switched off, or something else has written there
  }
}

export function keep(name: string, value: unknown): void {
  try {
    sessionStorage.setItem(`dialogs.${name}`, JSON.stringify(value))
  } catch {
    // Switched off or full: it does not survive a reload.
  }
}

/** Where the reader was when the tab last left this step of its history. */
export function keptPlace(): Place | undefined {
  const { seq, topPx } = fieldsOf(keptJson(placeName()))
  return typeof seq === 'number' && typeof topPx === 'number' ? { seq, topPx } : undefined
}

/** @param place undefined at the newest message: that is where a page begins by itself */
export function keepPlace(place: Place | undefined): void {
  keep(placeName(), place ?? null)
}

/** A step of the history has a number of its own. What is written there on leaving is lost. */
function placeName(): string {
  const { step } = fieldsOf(history.state)
  if (typeof step === 'number') return `place.${step}`
  const next = Number(keptJson('step') ?? 0) + 1
  keep('step', next)
  history.replaceState({ step: next }, '')
  return `place.${next}`
}

/** The fields of what was kept, each still unknown; none of what is no object. */
export function fieldsOf(value: unknown): { readonly [field: string]: unknown } {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}
