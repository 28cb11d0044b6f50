// The pause before another attempt, with backoff up to a second. Does not keep the process alive.
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../backoff.js'

const MS_MIN = 20
const MS_MAX = 1000

export class Pause {
  #attempts = 0

  async wait(): Promise<void> {
    await sleep(backoffMs(this.#attempts++, MS_MIN, MS_MAX), undefined, { ref: false })
  }
}
