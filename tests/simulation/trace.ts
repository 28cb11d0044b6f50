// What happened in a run, in words: what clients saw, which faults came, what the nodes decided.
// The same seed gives the same trace, byte for byte.
import { createHash } from 'node:crypto'
import { type VirtualTime } from './virtual-time.js'

export class Trace {
  readonly lines: string[] = []
  readonly #time: VirtualTime

  constructor(time: VirtualTime) {
    this.#time = time
  }

  note(text: string): void {
    this.lines.push(`${this.#time.now.toFixed(3).padStart(11)}  ${text}`)
  }

  get digest(): string {
    return createHash('sha256').update(this.lines.join('\n')).digest('hex')
  }
}
