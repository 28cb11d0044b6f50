// Measures whether a client takes what it is sent: for how long nothing that waits in its socket
// has been taken.
import { type Socket } from 'node:net'

export class Stall {
  readonly #socket: Pick<Socket, 'writableLength' | 'bytesWritten'>
  #takenBytes = 0
  #takenAt = performance.now()

  constructor(socket: Pick<Socket, 'writableLength' | 'bytesWritten'>) {
    this.#socket = socket
  }

  /** In ms; 0 if nothing is waiting. As precise as the time between two calls. */
  ms(now: number): number {
    const waiting = this.#socket.writableLength
    // bytesWritten counts what was accepted for writing, including what is still waiting here.
    const taken = this.#socket.bytesWritten - waiting
    if (waiting === 0 || taken !== this.#takenBytes) {
      this.#takenBytes = taken
      this.#takenAt = now
    }
    return now - this.#takenAt
  }
}
