// What each process has heard of changed messages. From the moment in which a change reaches a
// process, it writes to no reader what the message said before: not from its ring, not from a page
// that it keeps or reads, not from a publication that waits for a gap to close. Of a deleted
// message it writes no text at all.
import { frameAt } from '../../src/message/frame.js'
import { decodePublication } from '../../src/message/publication.js'
import { type Owner } from './virtual-time.js'
import { type World } from './world.js'

type Body = {
  readonly room: string
  readonly seq: number
  readonly text?: string
  readonly changes?: number
}

export class Hearing {
  readonly #world: World
  /** By process: `<room> <seq>` of the messages, and whether it has heard of their deletion. */
  readonly #heard = new WeakMap<Owner, Map<string, 'changed' | 'deleted'>>()

  constructor(world: World) {
    this.#world = world
  }

  /** A publication has reached a process that subscribes to its channel. */
  onHeard(process: Owner, payload: string): void {
    const frames = decodePublication(Buffer.from(payload))
    if (frames?.changes === undefined) return
    const heard = this.#heard.get(process) ?? new Map<string, 'changed' | 'deleted'>()
    this.#heard.set(process, heard)
    for (let seq = frames.first; seq < frames.first + frames.ends.length; seq++) {
      for (const { room, changes } of bodiesIn(frameAt(frames, seq))) {
        if (changes === undefined) continue
        const key = `${room} ${changes}`
        // Each change says what was stored when it was published, so an earlier change may already
        // show the deletion, and a later one the text. The deletion's own entry counts.
        if (this.#world.oracle.rooms.isDeletionOf(room, seq, changes)) heard.set(key, 'deleted')
        else if (!heard.has(key)) heard.set(key, 'changed')
      }
    }
  }

  /** A process writes to a reader. A failover may have taken the change back. */
  onWritten(reader: string, process: Owner, bytes: Buffer): void {
    const { oracle } = this.#world
    const heard = this.#heard.get(process)
    if (heard === undefined || oracle.upheavals > 0) return
    const bodies = bodiesIn(bytes)
    for (const [index, { room, seq, changes = seq, text }] of bodies.entries()) {
      const fate = heard.get(`${room} ${changes}`)
      if (text === undefined || fate === undefined) continue
      // What arrives in one turn is one write. The message and its change may arrive so.
      const isToldAtOnce = bodies
        .slice(index + 1)
        .some(other => other.room === room && other.changes === changes)
      if (isToldAtOnce) continue
      if (fate === 'changed' && !oracle.isOriginal(text)) continue
      oracle.violation(
        `${process.name} writes ${text} to ${reader}, and has heard that ${room} ${changes} is ${fate}`
      )
    }
  }
}

const bodiesIn = (frames: Buffer): Body[] =>
  [...frames.toString().matchAll(/^data: (.*)$/gm)].map(([, data = '']) => JSON.parse(data) as Body)
