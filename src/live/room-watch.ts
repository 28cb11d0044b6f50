// A room as seen by the people who follow it as one of their dialogs: its head, its last message,
// and who wrote the newest messages. Each followed room of the process has one. Invariant: every
// follower is told at least once after each change, but at most once in TOLD_EACH_MS, or in the
// time that it takes to tell all of them if that is longer. So a busy room costs each follower a
// few events a second, and the last one is always right.
import { type Frames, frameAt, lastOf } from '../message/frame.js'

export type Follower = {
  readonly user: string
  /** The room has moved on. After a reset, nothing that was known of it counts any more. */
  moved: (watch: RoomWatch, isReset: boolean) => void
  /** The room may have messages that cannot be read now. It is ready once they can be. */
  fellBehind: (watch: RoomWatch) => void
}

/** What a watch needs of its room. */
export type WatchedRoom = {
  readonly room: string
  readonly head: number
  readonly headMs: number
  readonly isBehind: boolean
  ready: () => Promise<void>
}

const TOLD_EACH_MS = 250
/** Authors that are remembered. Unread messages are counted up to 100; this is a few more. */
const AUTHORS_MAX = 128
/** Followers that are told in one turn of the event loop. */
const TOLD_AT_ONCE = 256

export class RoomWatch {
  readonly #room: WatchedRoom
  readonly #followers = new Set<Follower>()
  /** Who wrote the newest messages, up to the head. */
  #authors: string[] = []
  /** The last message as JSON; undefined if it is not known here. */
  #last: string | undefined
  #isReset = false
  #isTelling = false
  #toldAt = -Infinity
  #tellingMs = 0

  constructor(room: WatchedRoom) {
    this.#room = room
  }

  get room(): string {
    return this.#room.room
  }

  get head(): number {
    return this.#room.head
  }

  /** The time of the head's entry; 0 in an empty room. */
  get headMs(): number {
    return this.#room.headMs
  }

  /** The room may have messages that cannot be read now. */
  get isBehind(): boolean {
    return this.#room.isBehind
  }

  get last(): string | undefined {
    return this.#last
  }

  get followerCount(): number {
    return this.#followers.size
  }

  /** Resolves when the room's head is known, and it is not behind. */
  async ready(): Promise<void> {
    await this.#room.ready()
  }

  add(follower: Follower): void {
    this.#followers.add(follower)
  }

  remove(follower: Follower): void {
    this.#followers.delete(follower)
  }

  /** The room has delivered these frames. The last of them is its head. */
  delivered(frames: Frames): void {
    if (this.#followers.size === 0) {
      this.#forget()
      return
    }
    for (let seq = frames.first; seq <= lastOf(frames); seq++) this.#note(frameAt(frames, seq))
    this.#tellSoon()
  }

  /** The room was reset: what it delivered before is void. */
  reset(): void {
    this.#forget()
    this.#isReset = true
    this.#tellSoon()
  }

  /** The room has fallen behind. */
  fellBehind(): void {
    this.#tellAll(follower => {
      follower.fellBehind(this)
    })
  }

  /**
   * How many messages after `seq` are by others than this user; undefined if that is not known
   * here.
   */
  countSince(seq: number, user: string): number | undefined {
    const known = this.head - this.#authors.length
    if (seq < known) return undefined
    let count = 0
    for (let index = seq - known; index < this.#authors.length; index++) {
      if (this.#authors[index] !== user) count++
    }
    return count
  }

  // A message's frame is `id: …\ndata: …\n\n`. A frame that names an event is a change, or stands
  // for a message that is lost or deleted. Only the store knows what that means for the dialog.
  #note(frame: Buffer): void {
    const data = frame.indexOf(10) + 1
    if (frame.toString('latin1', data, data + 6) !== 'data: ') {
      this.#forget()
      return
    }
    this.#last = frame.toString('utf8', data + 6, frame.length - 2)
    // The service wrote this JSON itself (`messageJson`).
    this.#authors.push((JSON.parse(this.#last) as { readonly user: string }).user)
    if (this.#authors.length > AUTHORS_MAX) this.#authors.shift()
  }

  #forget(): void {
    this.#authors = []
    this.#last = undefined
  }

  #tellSoon(): void {
    if (this.#isTelling) return
    this.#isTelling = true
    const waitMs = this.#toldAt + Math.max(TOLD_EACH_MS, this.#tellingMs) - performance.now()
    if (waitMs < 1) {
      setImmediate(() => {
        this.#tell()
      })
    } else {
      setTimeout(() => {
        this.#tell()
      }, waitMs).unref()
    }
  }

  #tell(): void {
    const isReset = this.#isReset
    this.#isReset = false
    // What changes from here on is told again.
    this.#isTelling = false
    this.#toldAt = performance.now()
    this.#tellAll(
      follower => {
        follower.moved(this, isReset)
      },
      () => {
        this.#tellingMs = performance.now() - this.#toldAt
      }
    )
  }

  #tellAll(tell: (follower: Follower) => void, done = (): void => {}): void {
    const followers = [...this.#followers]
    const tellFrom = (from: number): void => {
      for (const follower of followers.slice(from, from + TOLD_AT_ONCE)) {
        if (this.#followers.has(follower)) tell(follower)
      }
      if (from + TOLD_AT_ONCE < followers.length) {
        setImmediate(() => {
          tellFrom(from + TOLD_AT_ONCE)
        })
      } else done()
    }
    tellFrom(0)
  }
}
