// Something to measure: a server at a URL that accepts POSTs of messages at /rooms/<room>/messages
// like the service, and has a stream of each room in its own protocol.

/** How to read a room: the program readers.ts knows both protocols. */
export type StreamRequest = {
  readonly kind: 'sse' | 'socketio'
  readonly path: string
  /**
   * Bytes that prove that the reader is live. Unset if the server sends none: then a reader counts
   * as live once it is answered.
   */
  readonly liveMark?: string
  /** How many frames up to then are not messages. */
  readonly otherFrames: number
}

export type Target = {
  readonly name: string
  readonly url: string
  /** The process that answers, if it is a single one. */
  readonly pid: number | undefined
  readonly stream: (room: string) => StreamRequest
  readonly stop: () => Promise<void>
}

/** A peer that is not available, and why. */
export type Missing = { readonly name: string; readonly why: string }

export const isMissing = (target: Target | Missing): target is Missing => 'why' in target
