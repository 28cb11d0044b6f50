// What the page remembers: `recall` and `remember` between visits, `keptJson` and `keep` over
// reloads of this one tab. Where the browser forbids storage the page remembers nothing, and works
// all the same.

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

/** The fields of what was kept, each still unknown; none of what is no object. */
export function fieldsOf(value: unknown): { readonly [field: string]: unknown } {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}
