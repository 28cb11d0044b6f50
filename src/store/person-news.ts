// What is published on a person's channel: that they have joined or left a room, by themselves or
// through others, and how far they have read. Messages are published on the rooms' channels.

export type PersonNews =
  | { readonly joined: string }
  | { readonly left: string }
  | { readonly read: string; readonly seq: number }

/** Parses a publication; undefined for anything that no version of this service has published. */
export function parsePersonNews(payload: Buffer): PersonNews | undefined {
  let news: unknown
  try {
    news = JSON.parse(payload.toString())
  } catch {
    return undefined
  }
  if (typeof news !== 'object' || news === null) return undefined
  const { joined, left, read, seq } = news as Record<string, unknown>
  if (typeof joined === 'string') return { joined }
  if (typeof left === 'string') return { left }
  return typeof read === 'string' && typeof seq === 'number' ? { read, seq } : undefined
}
