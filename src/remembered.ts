// A cache by the name of a room or user, for what the process can find out again. Bounded: when it
// is full, it is emptied.
const NAMES_MAX = 10_000

export class Remembered<V> extends Map<string, V> {
  override set(name: string, value: V): this {
    if (this.size >= NAMES_MAX) this.clear()
    return super.set(name, value)
  }
}
