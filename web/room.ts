// One room as the page uses it, through the service's client. Says what a user may be told about a
// failure, and nothing about how anything looks.
import { type Dialogs, type Message, Refusal, type UserPage } from '../src/client/dialogs.js'
import { type Entry } from './entry.js'

/** The newest messages, with which the page starts: more than a screen, and fast to load. */
export const FIRST_PAGE_SIZE = 100
/** A further page of history. */
export const PAGE_SIZE = 500
const USERS_SIZE = 200

/** What a user may be told about anything that a request may end with. */
export function reasonOf(error: unknown): string {
  if (error instanceof Refusal) return error.message
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return 'The service did not answer in time.'
  }
  return 'The service cannot be reached.'
}

export class Room {
  readonly name: string
  /** The address that the service's paths are relative to. */
  readonly base: string
  readonly dialogs: Dialogs

  constructor(name: string, base: string, dialogs: Dialogs) {
    this.name = name
    this.base = base
    this.dialogs = dialogs
  }

  /** In ascending order, with the sequence of the room's last entry, deleted or not. */
  async readNewest(
    limit: number,
    signal: AbortSignal
  ): Promise<{ readonly head: number; readonly messages: readonly Entry[] }> {
    return this.dialogs.messages(this.name, { limit, signal })
  }

  /** In ascending order; without an edge, the newest. @throws Refusal, or what `fetch` throws */
  async readPage(
    edge: { before?: number; after?: number; limit?: number },
    signal?: AbortSignal
  ): Promise<readonly Entry[]> {
    const { messages } = await this.dialogs.messages(this.name, {
      limit: PAGE_SIZE,
      ...edge,
      signal
    })
    return messages
  }

  /** The members, and how many messages each has written. `after` asks for the next page. */
  readUsers(after?: string): Promise<UserPage> {
    return this.dialogs.users(this.name, {
      limit: USERS_SIZE,
      ...(after === undefined ? {} : { after })
    })
  }

  /** @param key makes repeats of this POST one message, even over reloads of the page */
  post(
    draft: { user: string; text: string },
    options: { key: string; retryMsMax: number; onRetry: (error: unknown) => void }
  ): Promise<Message> {
    return this.dialogs.post(this.name, draft, options)
  }

  /** Where a message can be opened. */
  addressOf(seq?: number): string {
    const url = new URL('chat', this.base)
    url.searchParams.set('chat_id', this.name)
    if (seq !== undefined) url.searchParams.set('seq', String(seq))
    return url.href
  }
}
