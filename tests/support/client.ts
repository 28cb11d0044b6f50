// Requests of tests to the service, with the answers as plain values.
import { randomUUID } from 'node:crypto'

export type Answer = {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

/** A room that no other test uses. */
export const freshRoom = (): string => `room-${randomUUID().slice(0, 8)}`

/** The name of a room or user that no other test has. */
export const newName = (): string => `n${randomUUID().slice(0, 13)}`

export async function request(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init)
  const text = await response.text()
  // Every answer of the API is a JSON object.
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
  }
}

export async function post(
  url: string,
  room: string,
  user: string,
  text: string,
  headers: Record<string, string> = {}
): Promise<Answer> {
  return await request(`${url}/rooms/${encodeURIComponent(room)}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ user, text })
  })
}

/** Posts a message. @throws Error unless it is stored as a new one */
export async function postStored(
  url: string,
  room: string,
  user: string,
  text: string
): Promise<void> {
  const { status, body } = await post(url, room, user, text)
  if (status !== 201) throw new Error(`POST was answered ${status}: ${JSON.stringify(body)}`)
}

/** Posts `count` messages one after the other: `<user> 1`, `<user> 2` … */
export async function postMany(
  url: string,
  room: string,
  user: string,
  count: number
): Promise<void> {
  for (let n = 1; n <= count; n++) await postStored(url, room, user, `${user} ${n}`)
}

/** Every message of a room, page by page. */
export async function readAll(url: string, room: string): Promise<Array<Record<string, unknown>>> {
  const messages: Array<Record<string, unknown>> = []
  for (;;) {
    const after = String(messages.at(-1)?.['seq'] ?? 0)
    const { body } = await request(
      `${url}/rooms/${encodeURIComponent(room)}/messages?after=${after}&limit=1000`
    )
    // PageAnswer in src/routes/schemas.ts.
    const page = body['messages'] as Array<Record<string, unknown>>
    if (page.length === 0) return messages
    messages.push(...page)
  }
}

/** The whole numbers from the first to the last. */
export const sequence = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)
