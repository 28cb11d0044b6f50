// A command that is refused because it would lose data, or cannot be done as the cluster stands. Its message says why and what to do
// instead; nothing was changed.

export class Refusal extends Error {
  constructor (message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'Refusal'
  }
}
