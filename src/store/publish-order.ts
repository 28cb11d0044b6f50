// Publishes what this process has written to a room in the order of its sequences. Groups may
// become durable in any order; a publication out of order would look like a gap to every
// subscriber, and each of them would read it from the store.

export class PublishOrder {
  /** Per room, the publication that comes last so far. */
  readonly #last = new Map<string, Promise<void>>()

  /**
   * Publishes something as soon as it is durable and everything added to the room before has had
   * its turn. What fails, or is undefined, is skipped.
   */
  add<Done>(room: string, durable: Promise<Done | undefined>, publish: (done: Done) => void): void {
    const previous = this.#last.get(room)
    const inTurn = previous === undefined ? durable : previous.then(() => durable)
    const published = inTurn.then(
      value => {
        if (value !== undefined) publish(value)
        finish()
      },
      () => {
        finish()
      }
    )
    const finish = (): void => {
      if (this.#last.get(room) === published) this.#last.delete(room)
    }
    this.#last.set(room, published)
  }

  /** Resolves when everything added so far was published or skipped. */
  async settled(): Promise<void> {
    await Promise.all(this.#last.values())
  }
}
