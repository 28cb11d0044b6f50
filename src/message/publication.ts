// What travels on a room's channel, from the process that wrote something to all that have readers
// there: the frames of new entries, a signal, or the news that the room was deleted. The first byte
// tells them apart: frames begin with a digit, or with `changed` if changes are among them.
// Whatever a process cannot parse makes it read the room's log instead, so a newer version may
// publish something new.
import { encodeFrame, type Frames } from './frame.js'
import { isChange, type Entry } from './message.js'

// A publication that has changes begins with a line that names the messages they change.
const CHANGED = 'changed '
const CHANGED_FIRST_BYTE = CHANGED.charCodeAt(0)
const CHANGED_LINE = /^changed ([1-9]\d{0,14}(?: [1-9]\d{0,14})*)$/

/** A publication: a line `<first> <length of each frame in bytes> …`, then the frames. */
export function encodePublication(entries: readonly Entry[]): string {
  const texts = entries.map(encodeFrame)
  const changes = entries.filter(isChange).map(({ changes }) => changes)
  const mark = changes.length === 0 ? '' : `${CHANGED}${changes.join(' ')}\n`
  return `${mark}${entries[0]?.seq ?? 0} ${texts.map(text => Buffer.byteLength(text)).join(' ')}\n${texts.join('')}`
}

const HEADER = /^[1-9]\d{0,14}(?: [1-9]\d{0,8})+$/

/**
 * The inverse of encodePublication; undefined for anything that no version of this service has
 * published. Copies the bytes, because the payload is a slice of a far larger chunk.
 */
export function decodePublication(payload: Buffer): Frames | undefined {
  return payload[0] === CHANGED_FIRST_BYTE ? decodeChanges(payload) : decodeFrames(payload)
}

function decodeChanges(payload: Buffer): Frames | undefined {
  const newline = payload.indexOf(10)
  const [, targets] = CHANGED_LINE.exec(payload.toString('latin1', 0, Math.max(0, newline))) ?? []
  const frames = targets === undefined ? undefined : decodeFrames(payload.subarray(newline + 1))
  return frames === undefined || targets === undefined
    ? undefined
    : { ...frames, changes: targets.split(' ').map(Number) }
}

function decodeFrames(payload: Buffer): Frames | undefined {
  const newline = payload.indexOf(10)
  const header = payload.toString('latin1', 0, Math.max(0, newline))
  if (!HEADER.test(header)) return undefined
  const [first = 0, ...lengths] = header.split(' ').map(Number)
  let end = 0
  const ends = lengths.map(length => {
    end += length
    return end
  })
  if (end !== payload.length - newline - 1) return undefined
  return { first, bytes: Buffer.from(payload.subarray(newline + 1)), ends }
}

const DELETED = /^deleted ([1-9]\d{0,14})-(\d{1,15})\n$/
const DELETED_FIRST_BYTE = 'd'.charCodeAt(0)

/** What is published when a room is deleted: up to which sequence, and when. */
export const encodeDeletion = (seq: number, ms: number): string => `deleted ${seq}-${ms}\n`

/** The inverse of encodeDeletion; undefined for other publications. */
export function decodeDeletion(payload: Buffer): { seq: number; ms: number } | undefined {
  if (payload[0] !== DELETED_FIRST_BYTE) return undefined
  const [, seq, ms] = DELETED.exec(payload.toString('latin1')) ?? []
  return seq === undefined ? undefined : { seq: Number(seq), ms: Number(ms) }
}

/**
 * Something for a room's present readers that is stored nowhere. `data` is any JSON, or undefined.
 */
export type Signal = {
  readonly room: string
  readonly user: string
  readonly kind: string
  readonly data: unknown
}

const SIGNAL = 'signal\n'
const SIGNAL_FIRST_BYTE = SIGNAL.charCodeAt(0)

/** What is published for a signal: a line that tells it from messages, then the frame. */
export const encodeSignal = ({ room, user, kind, data }: Signal): string =>
  `${SIGNAL}event: signal\ndata: ${JSON.stringify({ room, user, kind, data })}\n\n`

/** The frame of a published signal; undefined for other publications. Shares the bytes. */
export function decodeSignal(payload: Buffer): Buffer | undefined {
  if (payload[0] !== SIGNAL_FIRST_BYTE) return undefined
  return payload.toString('latin1', 0, SIGNAL.length) === SIGNAL
    ? payload.subarray(SIGNAL.length)
    : undefined
}

/**
 * Published by a tool after it has added an entry to a room's log. No process can parse it, so each
 * one that has readers in the room looks at the log (live/room.ts).
 */
export const LOOK = 'look'
