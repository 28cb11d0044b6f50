// What the page remembers between visits. Where the browser forbids storage, it remembers nothing and works all the same.

export function recall (name: string): string {
  try {
    return localStorage.getItem(`dialogs.${name}`) ?? ''
  } catch {
    return '' // storage is switched off
  }
}

export function remember (name: string, value: string): void {
  try {
    localStorage.setItem(`dialogs.${name}`, value)
  } catch {
    // Switched off or full: the name has to be typed again next time.
  }
}
