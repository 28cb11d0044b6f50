// Fills a room with very many messages in seconds: writes the same keys, entries and counters as
// the service would, but directly to Redis and in pipelines. As after a real writer, all segments
// except the last two are sealed. Users take turns, and each message is a millisecond later than
// the one before.
import { readConfig } from '../src/config.js'
import { blockKey, logKey, segmentKey, userCountKey, usersKey } from '../src/store/keys.js'
import { encodeCommand } from '../src/redis/resp.js'
import { blockTag, formatReference } from '../src/message/message.js'
import { newRoom, newUserPrefix } from './names.js'
import { RawConnection } from './raw-connection.js'
import { type RedisNodes } from './redis-nodes.js'

export type Filling = {
  readonly room: string
  /** Users are `<prefix>0`, `<prefix>1` …. */
  readonly userPrefix: string
  readonly users: number
  readonly messages: number
  readonly textBytes: number
}

/** A room to fill. Neither it nor its users may exist. */
export function newFilling(messages: number, users: number, textBytes: number): Filling {
  return { room: newRoom(), userPrefix: newUserPrefix(), users, messages, textBytes }
}

// The service under test runs with the default settings.
const { blockLength: BLOCK_LENGTH, segmentLength: SEGMENT_LENGTH } = readConfig({}).store

/** How many messages are encoded and sent at a time: some MB. */
const STEP = 20_000
const REPLICATED_MS_MAX = 30_000

export async function fill(
  redis: RedisNodes,
  filling: Filling,
  onProgress: (messages: number) => void = () => {}
): Promise<void> {
  const connections = new Map(redis.masters.map(node => [node, new RawConnection(node)]))
  const send = async (
    commands: Iterable<readonly [key: string, args: string[]]>
  ): Promise<void> => {
    const pipelines = new Map<string, string[]>()
    for (const [key, args] of commands) {
      const node = redis.ownerOf(key)
      const pipeline = pipelines.get(node) ?? []
      if (pipeline.push(encodeCommand(args)) === 1) pipelines.set(node, pipeline)
    }
    await Promise.all(
      [...pipelines].map(([node, pipeline]) => connections.get(node)?.exchange(pipeline.join('')))
    )
  }
  try {
    const firstMs = Date.now() - filling.messages
    for (let from = 0; from < filling.messages; from += STEP) {
      const to = Math.min(from + STEP, filling.messages)
      await send(entries(filling, from, to, firstMs))
      onProgress(to)
    }
    await send(counters(filling))
    await Promise.all(
      [...connections.values()].map(connection =>
        connection.exchange(encodeCommand(['WAIT', '1', String(REPLICATED_MS_MAX)]))
      )
    )
  } finally {
    for (const connection of connections.values()) connection.close()
  }
}

/** The keys of the blocks that filling the room creates, each with its number of messages. */
export function filledBlocks(filling: Filling): Array<{ key: string; messages: number }> {
  return Array.from({ length: filling.users }, (_, user) => {
    const messages = messagesOf(filling, user)
    return Array.from({ length: Math.ceil(messages / BLOCK_LENGTH) }, (_, block) => ({
      key: blockKey(
        filling.room,
        blockTag(userName(filling, user), block * BLOCK_LENGTH + 1, BLOCK_LENGTH)
      ),
      messages: Math.min(BLOCK_LENGTH, messages - block * BLOCK_LENGTH)
    }))
  }).flat()
}

function* entries(
  filling: Filling,
  from: number,
  to: number,
  firstMs: number
): Generator<readonly [key: string, args: string[]]> {
  const { room, messages, users, textBytes } = filling
  // The writer whose message completes a segment seals the oldest one while the tail is longer than
  // two segments.
  const sealed = Math.max(0, Math.floor(messages / SEGMENT_LENGTH) - 2)
  const filler = 'x'.repeat(textBytes)
  for (let index = from; index < to; index++) {
    const seq = index + 1
    const id = `${firstMs + index}-0`
    const tag = blockTag(
      userName(filling, index % users),
      Math.floor(index / users) + 1,
      BLOCK_LENGTH
    )
    const block = blockKey(room, tag)
    yield [block, ['XADD', block, id, 't', `#${seq} ${filler}`.slice(0, textBytes)]]
    const segment = Math.floor(index / SEGMENT_LENGTH)
    const log = segment < sealed ? segmentKey(room, segment) : logKey(room)
    yield [log, ['XADD', log, `0-${seq}`, 'r', formatReference(tag, id)]]
  }
}

function* counters(filling: Filling): Generator<readonly [key: string, args: string[]]> {
  const hash = usersKey(filling.room)
  for (let user = 0; user < Math.min(filling.users, filling.messages); user++) {
    const name = userName(filling, user)
    const count = String(messagesOf(filling, user))
    yield [userCountKey(name), ['SET', userCountKey(name), count]]
    yield [hash, ['HSET', hash, name, count]]
  }
}

const userName = ({ userPrefix }: Filling, user: number): string => `${userPrefix}${user}`

// Users take turns, so the first ones may have one message more.
const messagesOf = ({ messages, users }: Filling, user: number): number =>
  Math.floor(messages / users) + (user < messages % users ? 1 : 0)
