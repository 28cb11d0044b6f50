// The people who have streams in this process. A person is opened for the first of their streams:
// their channel is subscribed and their list is read. They are kept for a while after the last one,
// for a client that comes back. A list is read again when news of a change may have been lost, and
// otherwise now and then.
import { LoopSlices } from '../loop-slices.js'
import { LoopTurns } from '../loop-turns.js'
import { type Subscriber } from '../redis/subscriber.js'
import { userChannel, userOf } from '../store/keys.js'
import { parsePersonNews } from '../store/person-news.js'
import { Audit, type AuditOptions } from './audit.js'
import { LookTimes } from './look-times.js'
import { Person, type PersonEvents, type PersonInbox, type Watches } from './person.js'
import { type PersonOutput } from './person-stream.js'

export type PeopleOptions = AuditOptions & { readonly roomLingerMs: number }
type Members = {
  readonly onRemoved: (listener: (room: string, user: string | undefined) => void) => void
}

/** A list is read this many times less often than a room is compared with the store. */
const AUDITS = 6
/** As Audit's `looksPerMsMax`: reading a list takes several commands. */
const LOOKS_PER_MS_MAX = 1

type Entry = {
  readonly person: Person
  readonly looks: LookTimes
  lingering: NodeJS.Timeout | undefined
}

export class People {
  readonly #inbox: PersonInbox
  readonly #watches: Watches
  readonly #subscriber: Pick<Subscriber, 'subscribe' | 'unsubscribe'>
  readonly #options: PeopleOptions
  readonly #events: PersonEvents
  readonly #pace = { turns: new LoopTurns(), slices: new LoopSlices() }
  readonly #people = new Map<string, Entry>()
  readonly #audit: Audit<Entry>

  constructor(
    store: { readonly inbox: PersonInbox; readonly members: Members },
    watches: Watches,
    subscriber: Pick<Subscriber, 'subscribe' | 'unsubscribe'>,
    options: PeopleOptions,
    events: PersonEvents
  ) {
    this.#inbox = store.inbox
    this.#watches = watches
    this.#subscriber = subscriber
    this.#options = options
    this.#events = events
    store.members.onRemoved((room, user) => {
      if (user !== undefined) this.#people.get(user)?.person.removed(room)
      else for (const { person } of this.#people.values()) person.removed(room)
    })
    // Nothing shows that a list is still right, so each one is looked at in every interval.
    this.#audit = new Audit(this.#people, options, LOOKS_PER_MS_MAX, ({ person, looks }, now) => {
      if (looks.takeDue(now, -Infinity, AUDITS * options.auditMs)) void person.sync()
    })
  }

  get count(): number {
    return this.#people.size
  }

  /** Lets a stream follow a person, as Person.join. */
  join(
    user: string,
    output: PersonOutput,
    after: number | undefined,
    mayShow?: (room: string) => boolean
  ): () => void {
    const entry = this.#people.get(user) ?? this.#open(user)
    clearTimeout(entry.lingering)
    const { person } = entry
    const leave = person.join(output, after, mayShow)
    return () => {
      leave()
      if (person.streamCount > 0) return
      entry.lingering = setTimeout(() => {
        this.#close(user, entry)
      }, this.#options.roomLingerMs).unref()
    }
  }

  /** News for this channel may have been lost. */
  doubt(channel: string): void {
    const user = userOf(channel)
    const entry = user === undefined ? undefined : this.#people.get(user)
    if (entry === undefined) return
    void entry.person.sync()
    this.#audit.lookAgain(entry)
  }

  /** News for anybody may have been lost. */
  doubtAll(): void {
    this.#audit.doubtAll()
  }

  close(): void {
    this.#audit.close()
    for (const { person, lingering } of this.#people.values()) {
      clearTimeout(lingering)
      person.close()
    }
    this.#people.clear()
  }

  #open(user: string): Entry {
    const person = new Person(user, this.#inbox, this.#watches, this.#events, this.#pace)
    const looks = new LookTimes(performance.now(), AUDITS * this.#options.auditMs)
    const entry: Entry = { person, looks, lingering: undefined }
    this.#people.set(user, entry)
    this.#subscriber.subscribe(userChannel(user), {
      onMessage: payload => {
        const news = parsePersonNews(payload)
        if (news !== undefined) person.hear(news)
      },
      onSubscribed: isSettled => {
        void person.sync()
        if (!isSettled) this.#audit.lookAfterChange(entry)
      },
      onLost: () => {
        person.lost()
      }
    })
    return entry
  }

  #close(user: string, { person }: Entry): void {
    this.#subscriber.unsubscribe(userChannel(user))
    this.#people.delete(user)
    person.close()
  }
}
