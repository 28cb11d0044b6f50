// A client that posts one message.
import { type Post } from './plan.js'
import { Request } from './request.js'
import { type World } from './world.js'

// MESSAGE_DELETED, ROOM_DELETED: another client deleted it before its writer was answered.
const FINAL = new Set(['MESSAGE_LOST', 'MESSAGE_DELETED', 'MESSAGE_EXPIRED', 'ROOM_DELETED'])

/**
 * How long a message without a key may take while slots are moved. A key is in the room's slot as
 * well, and waits for the end of the move.
 */
const GENTLE_MS_MAX = 950

export function write(world: World, post: Post): Request {
  const { room, user, text, once } = post
  const { oracle } = world
  return new Request(world, {
    name: `${text.slice(0, 12)} to ${room}`,
    instance: post.instance,
    hasKey: once !== undefined,
    finalCodes: FINAL,
    ...(world.plan.isGentle === true && once === undefined ? { patienceMs: GENTLE_MS_MAX } : {}),
    send: async ({ store }) => {
      const { message, isNew } = await store.append({ room, user, text, once })
      const isSame = message.text === text || oracle.changes.mayBe(room, message.seq, message.text)
      if (!isSame || message.user !== user || message.room !== room) {
        oracle.violation(`${text} is answered with another message`)
      }
      oracle.onAcknowledged(post, message.seq)
      return { status: isNew ? 201 : 200, seq: message.seq }
    },
    onAnswer: answer => {
      if ('code' in answer) oracle.onRefused(post, answer)
    }
  })
}
