// How a cluster command may fail. The messages are for the operator.
import { withoutSecrets } from '../options.js'

/**
 * It would lose data, or is not possible in the cluster's current state. Nothing was changed. The
 * message says why, and what to do instead.
 */
export class Refusal extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(withoutSecrets(message), options)
    this.name = 'Refusal'
  }
}

/**
 * It was started but does not finish. Nothing is lost: the same command continues when the cause is
 * gone.
 */
export class Stuck extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'Stuck'
  }
}

/** It was stopped, after the current slots. The message says how to continue. */
export class Interrupted extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'Interrupted'
  }
}
