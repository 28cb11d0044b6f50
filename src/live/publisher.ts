// Step 5 of a write: tells every process that has readers in the room. One SPUBLISH for all that waits for a room.
// A publication that gets lost harms nobody for long: its readers find the gap at the next one, or by the audit.
import { type Cluster } from '../redis/cluster.js'
import { roomChannel, roomSlot } from '../redis/keys.js'
import { Lanes } from '../store/lanes.js'
import { type Message } from '../store/message.js'
import { encodePublication } from './frame.js'

const GROUP_LENGTH_MAX = 256

export class Publisher {
  readonly #lanes: Lanes<Message>

  constructor (cluster: Cluster, onFault: (error: unknown) => void) {
    this.#lanes = new Lanes(GROUP_LENGTH_MAX, async (room, group) => {
      try {
        // Two writers' repeated messages may stand side by side: only consecutive sequences are one publication.
        await Promise.all(consecutive(group).map(messages =>
          cluster.write(roomSlot(room), ['SPUBLISH', roomChannel(room), encodePublication(messages)])))
      } catch (error) {
        onFault(error)
      }
    })
  }

  publish (room: string, messages: readonly Message[]): void {
    for (const message of messages) this.#lanes.add(room, message)
  }
}

/** Splits messages into groups of consecutive sequences, in the order in which they came. */
export function consecutive (messages: readonly Message[]): Message[][] {
  const groups: Message[][] = []
  let expected = Number.NaN
  for (const message of messages) {
    if (message.seq === expected) groups.at(-1)?.push(message)
    else groups.push([message])
    expected = message.seq + 1
  }
  return groups
}
