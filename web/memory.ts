// What the page remembers: `recall` and `remember` between visits, `keptJson` and `keep` over
// reloads of this tab, `keptPlace` and `keepPlace` for one entry of the tab's history. If the
// browser forbids storage, the page remembers nothing, and works all the same.
import { type ScrollPlace } from './reader-place.js'

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

/** @returns undefined if nothing was stored */
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

/** Where the reader was when the tab last left this entry of its history. */
export function keptPlace(): ScrollPlace | undefined {
  const { seq, topPx } = fieldsOf(keptJson(placeName()))
  return typeof seq === 'number' && typeof topPx === 'number' ? { seq, topPx } : undefined
}

/** @param place undefined at the newest message, where a page starts by itself anyway */
export function keepPlace(place: ScrollPlace | undefined): void {
  keep(placeName(), place ?? null)
}

/**
 * Each entry of the history gets a number of its own, because what is written into the entry while
 * leaving the page is lost.
 */
function placeName(): string {
  const { step } = fieldsOf(history.state)
  if (typeof step === 'number') return `place.${step}`
  const next = Number(keptJson('step') ?? 0) + 1
  keep('step', next)
  history.replaceState({ step: next }, '')
  return `place.${next}`
}

/** The fields of a stored value, each still unknown; none if it is not an object. */
export function fieldsOf(value: unknown): { readonly [field: string]: unknown } {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}
