// Waiting before another attempt: twice as long each time, up to a second, and with jitter. Keeps no process alive.
import { setTimeout as sleep } from 'node:timers/promises'

const MS_MIN = 20
const MS_MAX = 1000

export class Pause {
  #ms = MS_MIN

  async wait (): Promise<void> {
    const ms = this.#ms * (0.5 + Math.random() / 2)
    this.#ms = Math.min(MS_MAX, 2 * this.#ms)
    await sleep(ms, undefined, { ref: false })
  }
}
