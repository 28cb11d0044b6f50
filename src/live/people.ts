// The people who have streams in this process. A person is opened for the first of their streams:
// their channel is subscribed and their list read. They are kept for a while after the last one,
// for a client that comes back. Now and then each list is read anew: the news of a change may have
// been lost with the process that made it.
import { type Subscriber } from '../redis/subscriber.js'
import { userChannel } from '../store/keys.js'
import { parsePersonNews } from '../store/person-news.js'
import { Person, type PersonEvents, type PersonInbox, type Watches } from './person.js'
import { type PersonOutput } from './person-stream.js'

export type PeopleOptions = { readonly roomLingerMs: number }
type Members = { readonly onRemoved: (listener: (room: string, user: string) => void) => void }

/** How long news that were lost stay unnoticed, at most, while a person has a stream. */
const AUDIT_MS = 300_000
const AUDIT_TURNS = 60

type Entry = { readonly person: Person; lingering: NodeJS.Timeout | undefined; lookedAt: number }

export class People {
  readonly #inbox: PersonInbox
  readonly #watches: Watches
  readonly #subscriber: Pick<Subscriber, 'subscribe' | 'unsubscribe'>
  readonly #options: PeopleOptions
  readonly #events: PersonEvents
  readonly #people = new Map<string, Entry>()
  readonly #timer: NodeJS.Timeout

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
      this.#people.get(user)?.person.left(room)
    })
    this.#timer = setInterval(() => {
      this.#audit()
    }, AUDIT_MS / AUDIT_TURNS).unref()
  }

  get count(): number {
    return this.#people.size
  }

  /** Lets a stream follow a person, as Person.join. */
  join(user: string, output: PersonOutput, after: number | undefined): () => void {
    const entry = this.#people.get(user) ?? this.#open(user)
    clearTimeout(entry.lingering)
    const { person } = entry
    const leave = person.join(output, after)
    return () => {
      leave()
      if (person.streamCount > 0) return
      entry.lingering = setTimeout(() => {
        this.#close(user, entry)
      }, this.#options.roomLingerMs).unref()
    }
  }

  close(): void {
    clearInterval(this.#timer)
    for (const { person, lingering } of this.#people.values()) {
      clearTimeout(lingering)
      person.close()
    }
    this.#people.clear()
  }

  #open(user: string): Entry {
    const person = new Person(user, this.#inbox, this.#watches, this.#events)
    const entry: Entry = { person, lingering: undefined, lookedAt: performance.now() }
    this.#people.set(user, entry)
    this.#subscriber.subscribe(userChannel(user), {
      onMessage: payload => {
        const news = parsePersonNews(payload)
        if (news !== undefined) person.hear(news)
      },
      onSubscribed: () => {
        void person.sync()
      }
    })
    return entry
  }

  #close(user: string, { person }: Entry): void {
    this.#subscriber.unsubscribe(userChannel(user))
    this.#people.delete(user)
    person.close()
  }

  #audit(): void {
    const before = performance.now() - AUDIT_MS * (1 - 1 / AUDIT_TURNS)
    for (const entry of this.#people.values()) {
      if (entry.lookedAt > before || entry.person.streamCount === 0) continue
      entry.lookedAt = performance.now()
      void entry.person.sync()
    }
  }
}
