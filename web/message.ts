// What the page knows of a message, as it comes from the stream and from pages of history alike.
// Everything from the network is `unknown` until it has passed here. Says nothing about how a
// message looks.

/** A message as it was stored. `at` is RFC 3339 with milliseconds. */
export interface Message {
  readonly seq: number
  readonly user: string
  readonly text: string
  readonly at: string
}

/** A place in the room's order whose message a shard has lost. It is shown as a gap. */
export interface LostMessage {
  readonly seq: number
  readonly lost: true
}

export type Entry = Message | LostMessage

/** @throws TypeError when it is no message */
export function parseMessage(value: unknown): Message {
  const { seq, user, text, at } = parseObject(value)
  if (
    typeof seq !== 'number' ||
    typeof user !== 'string' ||
    typeof text !== 'string' ||
    typeof at !== 'string'
  ) {
    throw new TypeError('The service sent something that is no message')
  }
  return { seq, user, text, at }
}

/** Like parseMessage, and accepts `{ seq, lost: true }` too. */
export function parseEntry(value: unknown): Entry {
  const { seq, lost } = parseObject(value)
  return lost === true && typeof seq === 'number' ? { seq, lost } : parseMessage(value)
}

/** An object's fields, each still unknown. @throws TypeError for anything but an object */
export function parseObject(value: unknown): { readonly [field: string]: unknown } {
  if (typeof value !== 'object' || value === null) {
    throw new TypeError('The service sent something that is no object')
  }
  return { ...value }
}
