// What this process knows of rooms or users by name, and can find out again: a map of bounded size,
// begun anew when it is full.
const NAMES_MAX = 10_000

export class Remembered<V> extends Map<string, V> {
  override set(name: string, value: V): this {
    if (this.size >= NAMES_MAX) this.clear()
    return super.set(name, value)
  }
}
