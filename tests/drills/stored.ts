// Reads what a room contains in the end, page by page, through the public interface only.
import { setTimeout as sleep } from 'node:timers/promises'

/** `user` and `text` are unset for a message that the service calls `lost`. */
export type StoredMessage = {
  readonly seq: number
  readonly user: string | undefined
  readonly text: string | undefined
}

type Headers = Readonly<Record<string, string>>

const PAGE_LENGTH = 1000
const READ_MS_MAX = 60_000
const PAUSE_MS = 100

/** Every message of a room, in the order of the pages. */
export async function readStored(
  url: string,
  room: string,
  headers: Headers = {}
): Promise<StoredMessage[]> {
  const stored: StoredMessage[] = []
  for (;;) {
    const { head, messages } = await readPage(
      `${url}/rooms/${encodeURIComponent(room)}/messages?after=${stored.at(-1)?.seq ?? 0}&limit=${PAGE_LENGTH}`,
      headers
    )
    stored.push(...messages)
    if (messages.length === 0 || (stored.at(-1)?.seq ?? 0) >= head) return stored
  }
}

/** The room's last sequence. */
export async function readHead(url: string, room: string, headers: Headers = {}): Promise<number> {
  return (await readPage(`${url}/rooms/${encodeURIComponent(room)}/messages?limit=1`, headers)).head
}

// A 503 is an honest answer while the store recovers, but not for long.
async function readPage(
  address: string,
  headers: Headers
): Promise<{ head: number; messages: StoredMessage[] }> {
  const deadline = performance.now() + READ_MS_MAX
  for (;;) {
    const response = await fetch(address, { headers })
    // The cast follows the documented shape of a page. Each message is compared with what was sent,
    // field by field.
    if (response.ok) return (await response.json()) as { head: number; messages: StoredMessage[] }
    const answer = await response.text()
    if (response.status !== 503 || performance.now() > deadline) {
      throw new Error(`GET ${address} answered ${response.status}: ${answer}`)
    }
    await sleep(PAUSE_MS)
  }
}
