// A plain model of a chat in memory, built from the service's answers. Each operation tells the
// model what the service answered; at the end pages, streams, lists and unread numbers must equal
// the model. Operations of one person come one after the other; messages and changes of several
// people may come in any order, because their sequences say what came first.

export type Told =
  | { readonly seq: number; readonly user: string; readonly text: string }
  | { readonly seq: number; readonly deleted: true }
  | { readonly seq: number; readonly changes: number; readonly text: string | undefined }

type Written = { readonly user: string; text: string | undefined }

type Room = {
  /** Everything up to it is gone. */
  goneTo: number
  readonly messages: Map<number, Written>
  /** By sequence: which message it changes. */
  readonly changes: Map<number, number>
  readonly members: Set<string>
  readonly marks: Map<string, number>
}

export class ChatModel {
  readonly #rooms = new Map<string, Room>()
  /** Every text that anybody has tried to write. */
  readonly #texts = new Set<string>()

  tries(text: string): void {
    this.#texts.add(text)
  }

  posted(room: string, seq: number, user: string, text: string): void {
    const { goneTo, messages, members } = this.#room(room)
    if (seq <= goneTo) return
    if (messages.has(seq)) throw new Error(`two messages are ${seq} of ${room}`)
    messages.set(seq, { user, text })
    members.add(user)
  }

  /** @param text undefined: deleted */
  changed(room: string, seq: number, changes: number, text: string | undefined): void {
    const { goneTo, messages, changes: all } = this.#room(room)
    if (seq > goneTo) all.set(seq, changes)
    const message = messages.get(changes)
    if (message !== undefined) message.text = text
  }

  /** Nobody joins, leaves or reads meanwhile. */
  deleted(room: string, upTo: number): void {
    const it = this.#room(room)
    it.goneTo = Math.max(it.goneTo, upTo)
    for (const map of [it.messages, it.changes]) {
      for (const seq of map.keys()) if (seq <= upTo) map.delete(seq)
    }
    const left = new Set([...it.messages.values()].map(({ user }) => user))
    for (const user of it.members) if (!left.has(user)) it.members.delete(user)
    it.marks.clear()
  }

  joined(room: string, user: string): void {
    this.#room(room).members.add(user)
  }

  left(room: string, user: string): void {
    this.#room(room).members.delete(user)
    this.#room(room).marks.delete(user)
  }

  read(room: string, user: string, seq: number): void {
    const { marks } = this.#room(room)
    marks.set(user, Math.max(marks.get(user) ?? 0, seq))
  }

  isMember(room: string, user: string): boolean {
    return this.#room(room).members.has(user)
  }

  /** A message of theirs that is not deleted, the newest ones first. */
  ownOf(room: string, user: string, index: number): number | undefined {
    const own = [...this.#room(room).messages].filter(
      ([, message]) => message.user === user && message.text !== undefined
    )
    return own.sort(([a], [b]) => b - a)[index]?.[0]
  }

  headOf(room: string): number {
    const { goneTo, messages, changes } = this.#room(room)
    return Math.max(goneTo, ...messages.keys(), ...changes.keys())
  }

  goneTo(room: string): number {
    return this.#room(room).goneTo
  }

  /** What a page of everything has, and what a reader of everything has in the end. */
  entries(room: string): Told[] {
    const { messages, changes } = this.#room(room)
    const entries: Told[] = [...messages].map(([seq, { user, text }]) =>
      text === undefined ? { seq, deleted: true } : { seq, user, text }
    )
    for (const [seq, changed] of changes) {
      entries.push({ seq, changes: changed, text: messages.get(changed)?.text })
    }
    return entries.sort((a, b) => a.seq - b.seq)
  }

  members(room: string): string[] {
    return [...this.#room(room).members].sort()
  }

  /** A person's dialogs, by the names of the rooms. */
  dialogs(user: string): Array<{ room: string; head: number; unread: number; last: Told | null }> {
    return [...this.#rooms]
      .filter(([, { members }]) => members.has(user))
      .map(([room, { messages, marks }]) => {
        const read = marks.get(user) ?? 0
        const unread = [...messages].filter(([seq, { user: by }]) => seq > read && by !== user)
        const last = Math.max(...messages.keys())
        return {
          room,
          head: this.headOf(room),
          unread: Math.min(100, unread.length),
          last: this.entries(room).find(({ seq }) => seq === last) ?? null
        }
      })
      .sort((a, b) => (a.room < b.room ? -1 : 1))
  }

  /** Texts that nobody may see any more, anywhere. */
  gone(): string[] {
    const alive = new Set(
      [...this.#rooms.values()].flatMap(({ messages }) =>
        [...messages.values()].map(({ text }) => text)
      )
    )
    return [...this.#texts].filter(text => !alive.has(text))
  }

  #room(name: string): Room {
    const known = this.#rooms.get(name)
    if (known !== undefined) return known
    const room: Room = {
      goneTo: 0,
      messages: new Map(),
      changes: new Map(),
      members: new Set(),
      marks: new Map()
    }
    this.#rooms.set(name, room)
    return room
  }
}
