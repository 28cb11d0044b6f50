// Whether a process repeats something without a pause: plans are small, so no key is written often.
import { type Effects } from './replication-link.js'
import { type World } from './world.js'

const WINDOW_MS = 1000
/** The first 300 seeds reach 41; a loop at the pace of the network exceeds 3,000. */
const WRITES_MAX = 500

export class Pace {
  readonly #world: World
  readonly #writes = new Map<string, number>()
  #windowEndsAt = 0

  constructor(world: World) {
    this.#world = world
  }

  /** A master has carried out commands. */
  note(effects: Effects): void {
    const { time, oracle } = this.#world
    if (time.now >= this.#windowEndsAt) {
      this.#writes.clear()
      this.#windowEndsAt = time.now + WINDOW_MS
    }
    for (const effect of effects) {
      if ('value' in effect) continue
      const what = `${effect[0] ?? ''} ${effect[1] ?? ''}`
      const count = (this.#writes.get(what) ?? 0) + 1
      this.#writes.set(what, count)
      if (count === WRITES_MAX) oracle.violation(`${what} is written ${count} times in a second`)
    }
  }
}
