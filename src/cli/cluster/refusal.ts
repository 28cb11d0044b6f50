// How a cluster command may end otherwise than done. The messages are for the person who gave it.

/**
 * It would lose data, or cannot be done as the cluster stands: nothing was changed. Says why, and
 * what to do instead.
 */
export class Refusal extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'Refusal'
  }
}

/**
 * It was begun and does not come to its end. Nothing is lost: the same command continues when the
 * cause is gone.
 */
export class Stuck extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'Stuck'
  }
}

/** Somebody stopped it, behind the slots in hand. Says how to continue. */
export class Interrupted extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'Interrupted'
  }
}
