// What can be measured: something at a URL that takes POSTs of messages at /rooms/<room>/messages as the service does, and has a stream
// of each room, in its own protocol.

/** How to read a room: the program readers.ts speaks both kinds. */
export type StreamRequest = {
  readonly kind: 'sse' | 'socketio'
  readonly path: string
  /** What comes when the reader has everything up to now; unset where nothing is said: then it reads as soon as it is answered. */
  readonly liveMark?: string
  /** Frames that are no messages, up to then. */
  readonly otherFrames: number
}

export type Target = {
  readonly name: string
  readonly url: string
  /** The process that answers, where it is a single one. */
  readonly pid: number | undefined
  readonly stream: (room: string) => StreamRequest
  readonly stop: () => Promise<void>
}

/** A peer that is not here, and why. */
export type Missing = { readonly name: string, readonly why: string }

export const isMissing = (target: Target | Missing): target is Missing => 'why' in target
