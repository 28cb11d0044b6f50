// The client for programs and pages: everything that is public of `dialogs/client`. It runs in
// browsers and in Node, needs nothing but `fetch`, and keeps no state but the queues of what is
// being posted, so that one client serves a whole program.
import { type Entry, type Message, type MessagePage, type UserPage, userPageOf } from './answers.js'
import { readHistory, type PageQuery, readPage } from './history.js'
import { type ClientOptions, Http, part } from './http.js'
import { type Draft, type PostOptions, PostQueue } from './post-queue.js'
import { readRooms, type StreamEvent, type StreamOptions } from './stream.js'

export { WrongAnswer } from './answers.js'
export { Silence } from './event-stream.js'
export { randomKey } from './post-queue.js'
export { Refusal } from './refusal.js'
export type { Entry, LostMessage, Message, MessagePage, UserCount, UserPage } from './answers.js'
export type { PageQuery } from './history.js'
export type { ClientOptions } from './http.js'
export type { Draft, PostOptions } from './post-queue.js'
export type { Change, StreamEvent, StreamOptions } from './stream.js'

export class Dialogs {
  readonly #http: Http
  readonly #posts: PostQueue

  constructor(options: ClientOptions) {
    this.#http = new Http(options)
    this.#posts = new PostQueue(this.#http)
  }

  /**
   * Stores a message once, repeating what fails for the moment. Messages of one room are sent one
   * after the other, in the order of the calls. @throws Refusal, or the last failure when the time
   * for repetitions is over
   */
  post(room: string, draft: Draft, options?: PostOptions): Promise<Message> {
    return this.#posts.post(room, draft, options)
  }

  /**
   * The room's entries, page by page as they are used: with `after` ascending from there to the
   * newest, otherwise descending from `before` or the newest. @throws Refusal
   */
  history(room: string, query: PageQuery = {}): AsyncGenerator<Entry, void> {
    return readHistory(this.#http, room, query)
  }

  /** One page of entries, ascending; repeats nothing. @throws Refusal, or what `fetch` throws */
  messages(room: string, query: PageQuery = {}): Promise<MessagePage> {
    return readPage(this.#http, room, query)
  }

  /**
   * What is in the rooms, then what is written, until the signal aborts: each entry once and in
   * order, over all reconnections. @throws Refusal when the service refuses for good
   */
  stream(
    rooms: string | readonly string[],
    options: StreamOptions = {}
  ): AsyncGenerator<StreamEvent, void> {
    return readRooms(this.#http, typeof rooms === 'string' ? [rooms] : rooms, options)
  }

  /** Who is in the room, one page. @throws Refusal, or what `fetch` throws */
  async users(
    room: string,
    { after, limit, signal }: { after?: string; limit?: number; signal?: AbortSignal } = {}
  ): Promise<UserPage> {
    const query = { after, limit }
    return userPageOf(await this.#http.request(`rooms/${part(room)}/users`, { query, signal }))
  }
}
