// The bytes that go to readers: each entry of a room as a frame, one Server-Sent Event
// (https://html.spec.whatwg.org/multipage/server-sent-events.html), with its JSON. A message is
// encoded once, by its writer's process, and the same bytes go to every socket.
import { Remembered } from '../remembered.js'
import {
  formatCursor,
  isChange,
  isMessage,
  type Change,
  type Deleted,
  type Entry,
  type Message
} from './message.js'

/**
 * The JSON of a message, as in the answer to a POST and in a frame: `{room, seq, user, text, at}`.
 */
export function messageJson({ room, seq, user, text, ms, changedMs }: Message): string {
  const changed = changedMs === undefined ? '' : `,"changed":"${formatTime(changedMs)}"`
  return `{"room":${nameJson(room)},"seq":${seq},"user":${nameJson(user)},"text":${JSON.stringify(text)},"at":"${formatTime(ms)}"${changed}}`
}

const deletedJson = ({ room, seq, ms }: Deleted): string =>
  `{"room":${nameJson(room)},"seq":${seq},"deleted":true,"at":"${formatTime(ms)}"}`

/** The JSON of a change: `{room, seq, changes, text | deleted, at}`. */
const changeJson = ({ room, seq, changes, text, ms }: Change): string =>
  `{"room":${nameJson(room)},"seq":${seq},"changes":${changes},${text === undefined ? '"deleted":true' : `"text":${JSON.stringify(text)}`},"at":"${formatTime(ms)}"}`

// The same few names are encoded again and again.
const names = new Remembered<string>()

function nameJson(name: string): string {
  const known = names.get(name)
  if (known !== undefined) return known
  const json = JSON.stringify(name)
  names.set(name, json)
  return json
}

/** The JSON in place of a lost message. */
const lostJson = (room: string, seq: number): string =>
  `{"room":${JSON.stringify(room)},"seq":${seq},"lost":true}`

export function entryJson(entry: Entry): string {
  if (isMessage(entry)) return messageJson(entry)
  if (isChange(entry)) return changeJson(entry)
  return 'deleted' in entry ? deletedJson(entry) : lostJson(entry.room, entry.seq)
}

function eventOf(entry: Exclude<Entry, Message>): string {
  if (isChange(entry)) return 'changed'
  return 'deleted' in entry ? 'deleted' : 'lost'
}

/**
 * The frame of an entry. Messages have no event name, so an EventSource's `onmessage` gets them.
 * All other entries have one, so that a client that does not know them cannot show them as
 * messages.
 */
export function encodeFrame(entry: Entry): string {
  const event = isMessage(entry) ? '' : `event: ${eventOf(entry)}\n`
  return `id: ${formatCursor(entry.seq, entry.ms)}\n${event}data: ${entryJson(entry)}\n\n`
}

/** A frame that is no entry but moves the client's cursor to `id`: `live` or `reset`. */
export const eventFrame = (event: 'live' | 'reset', id: string, data: object): string =>
  `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`

/** A frame that is no entry and leaves the client's cursor as it is. */
export const passingFrame = (event: 'behind', data: object): string =>
  `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`

// Consecutive times usually share their second. Calling `toISOString` for each message took a tenth
// of the time of reading history.
let formattedS = Number.NaN
let formatted = ''

/** RFC 3339 with milliseconds, in UTC. */
export function formatTime(ms: number): string {
  const s = Math.floor(ms / 1000)
  if (s !== formattedS) {
    formattedS = s
    formatted = new Date(s * 1000).toISOString().slice(0, -4)
  }
  return `${formatted}${String(ms - s * 1000).padStart(3, '0')}Z`
}

/**
 * Consecutive frames of one room. `ends[i]` is the offset at which the frame of sequence
 * `first + i` ends.
 */
export type Frames = {
  readonly first: number
  readonly bytes: Buffer
  readonly ends: readonly number[]
  /** The sequences of the messages whose changes are among the frames; usually absent. */
  readonly changes?: readonly number[]
}

export const lastOf = ({ first, ends }: Frames): number => first + ends.length - 1

/** Whether frames have a text of a message: its first one, or one that it was changed to. */
export const hasTextOf = (frames: Frames, seq: number): boolean =>
  (seq >= frames.first && seq <= lastOf(frames)) || frames.changes?.includes(seq) === true

export const framesOf = (entries: readonly Entry[]): Frames =>
  [...piecesOf(entries, Infinity)][0] ?? { first: 0, bytes: Buffer.alloc(0), ends: [] }

/**
 * Encodes entries as frames, in pieces of at most `bytesMax` bytes but at least one frame. Each
 * piece has its own buffer, so holding one does not keep the others in memory. A piece is encoded
 * when it is asked for.
 */
export function* piecesOf(entries: readonly Entry[], bytesMax: number): Generator<Frames> {
  let changes: number[] | undefined
  let first = entries[0]?.seq ?? 0
  let texts = ''
  let ends: number[] = []
  let end = 0
  const piece = (): Frames => {
    const frames = { first, bytes: Buffer.from(texts), ends }
    return changes === undefined ? frames : { ...frames, changes }
  }
  for (const entry of entries) {
    const text = encodeFrame(entry)
    const bytes = Buffer.byteLength(text)
    if (end + bytes > bytesMax) {
      if (ends.length > 0) yield piece()
      changes = undefined
      first = entry.seq
      texts = ''
      ends = []
      end = 0
    }
    if (isChange(entry)) (changes ??= []).push(entry.changes)
    texts += text
    end += bytes
    ends.push(end)
  }
  if (ends.length > 0) yield piece()
}

/**
 * The frames from sequence `seq` on, sharing the bytes; `seq` may be at most one beyond the last.
 */
export function framesFrom(frames: Frames, seq: number): Frames {
  const { changes } = frames
  const skipped = Math.max(0, seq - frames.first)
  if (skipped === 0) return frames
  const start = frames.ends[skipped - 1] ?? frames.bytes.length
  const rest = {
    first: frames.first + skipped,
    bytes: frames.bytes.subarray(start),
    ends: frames.ends.slice(skipped).map(end => end - start)
  }
  return changes === undefined ? rest : { ...rest, changes }
}

/** The bytes of one frame. */
export function frameAt({ first, bytes, ends }: Frames, seq: number): Buffer {
  const index = seq - first
  return bytes.subarray(index === 0 ? 0 : ends[index - 1], ends[index])
}

/** The entry's time in a frame's `id: <seq>-<ms>`. */
export function frameMs(frame: Buffer): number {
  const line = frame.toString('latin1', 0, Math.min(frame.length, 64))
  return Number.parseInt(line.slice(line.indexOf('-') + 1), 10)
}
