// The client for programs and pages, and all that `dialogs/client` exports. It runs in browsers and
// in Node and needs only `fetch`. It keeps no state except the queues of what is being posted, so
// one client serves a whole program.
import {
  type Dialog,
  type DialogPage,
  dialogOf,
  dialogPageOf,
  type Entry,
  type Message,
  type MessagePage,
  type UserPage,
  userPageOf
} from './answers.js'
import { readHistory, type PageQuery, readPage } from './history.js'
import { type ClientOptions, Http, part } from './http.js'
import { type InboxEvent, type InboxOptions, readInbox } from './inbox.js'
import { type Draft, type PostOptions, PostQueue } from './post-queue.js'
import { readRooms, type StreamEvent, type StreamOptions } from './stream.js'

export { WrongAnswer } from './answers.js'
export { Silence } from './event-stream.js'
export { randomKey } from './post-queue.js'
export { Refusal } from './refusal.js'
export type {
  Change,
  DeletedMessage,
  Dialog,
  DialogPage,
  Entry,
  LostMessage,
  Message,
  MessagePage,
  UserCount,
  UserPage
} from './answers.js'
export type { PageQuery } from './history.js'
export type { ClientOptions } from './http.js'
export type { InboxEvent, InboxOptions } from './inbox.js'
export type { Draft, PostOptions } from './post-queue.js'
export type { StreamEvent, StreamOptions } from './stream.js'

export class Dialogs {
  readonly #http: Http
  readonly #posts: PostQueue

  /** @throws TypeError when `url` is not an address of http or https */
  constructor(options: ClientOptions) {
    this.#http = new Http(options)
    this.#posts = new PostQueue(this.#http)
  }

  /**
   * Stores a message once, and retries temporary failures. Messages of one room are sent one after
   * the other, in the order of the calls. @throws Refusal, or the last failure when the time for
   * retries is over
   */
  post(room: string, draft: Draft, options?: PostOptions): Promise<Message> {
    return this.#posts.post(room, draft, options)
  }

  /**
   * The room's entries; a page is read when the one before it is used up. With `after` they ascend
   * from there to the newest, otherwise they descend from `before` or from the newest. @throws
   * Refusal
   */
  history(room: string, query: PageQuery = {}): AsyncGenerator<Entry, void> {
    return readHistory(this.#http, room, query)
  }

  /** One page of entries, ascending; retries nothing. @throws Refusal, or what `fetch` throws */
  messages(room: string, query: PageQuery = {}): Promise<MessagePage> {
    return readPage(this.#http, room, query)
  }

  /**
   * What is in the rooms, then what is written there, until the signal aborts. Each entry comes
   * once and in order, over all reconnections. @throws Refusal when the service refuses for good
   */
  stream(
    rooms: string | readonly string[],
    options: StreamOptions = {}
  ): AsyncGenerator<StreamEvent, void> {
    return readRooms(this.#http, typeof rooms === 'string' ? [rooms] : rooms, options)
  }

  /** One page of the room's users. @throws Refusal, or what `fetch` throws */
  async users(
    room: string,
    { after, limit, signal }: { after?: string; limit?: number; signal?: AbortSignal } = {}
  ): Promise<UserPage> {
    const query = { after, limit }
    return userPageOf(await this.#http.request(`rooms/${part(room)}/users`, { query, signal }))
  }

  /** Makes a user a member of the room. @throws Refusal, or what `fetch` throws */
  async invite(room: string, user: string): Promise<void> {
    await this.#http.request(`rooms/${part(room)}/users/${part(user)}`, { method: 'PUT' })
  }

  /**
   * Ends a membership. The user's messages stay, and writing again makes the user a member again.
   * @throws Refusal, or what `fetch` throws
   */
  async remove(room: string, user: string): Promise<void> {
    await this.#http.request(`rooms/${part(room)}/users/${part(user)}`, { method: 'DELETE' })
  }

  /**
   * One page of a person's dialogs, newest activity first. @throws Refusal, or what `fetch` throws
   */
  async rooms(
    user: string,
    { before, limit, signal }: { before?: string; limit?: number; signal?: AbortSignal } = {}
  ): Promise<DialogPage> {
    const query = { before, limit }
    return dialogPageOf(await this.#http.request(`users/${part(user)}/rooms`, { query, signal }))
  }

  /**
   * The state of each of a person's dialogs, then of each one that changes, until the signal
   * aborts. @throws Refusal when the service refuses for good
   */
  inbox(user: string, options: InboxOptions = {}): AsyncGenerator<InboxEvent, void> {
    return readInbox(this.#http, user, options)
  }

  /**
   * Notes how far a member has read the room; the mark never moves back. @throws Refusal, or what
   * `fetch` throws
   */
  async markRead(room: string, user: string, seq: number): Promise<Dialog> {
    const path = `rooms/${part(room)}/users/${part(user)}/read`
    return dialogOf(await this.#http.request(path, { method: 'PUT', body: { seq } }))
  }

  /** Sends the room's readers something that is not stored, such as typing. @throws Refusal */
  async signal(
    room: string,
    signal: { user: string; kind: string; data?: unknown }
  ): Promise<void> {
    await this.#http.request(`rooms/${part(room)}/signals`, { method: 'POST', body: signal })
  }

  /** Gives a message another text. The room's streams get it as `changed`. @throws Refusal */
  async edit(room: string, seq: number, draft: Draft): Promise<void> {
    await this.#http.request(`rooms/${part(room)}/messages/${seq}`, {
      method: 'PATCH',
      body: draft
    })
  }

  /**
   * Deletes a room: messages, members, read marks. If tokens are needed, only an admin may. The
   * room's streams get `reset` with the reason `deleted`. @throws Refusal, or what `fetch` throws
   */
  async deleteRoom(room: string): Promise<void> {
    await this.#http.request(`rooms/${part(room)}`, { method: 'DELETE' })
  }

  /** Deletes a message's text for good. The room's streams get it as `changed`. @throws Refusal */
  async delete(room: string, seq: number, { user }: { user?: string } = {}): Promise<void> {
    const query = { user }
    await this.#http.request(`rooms/${part(room)}/messages/${seq}`, { method: 'DELETE', query })
  }
}
