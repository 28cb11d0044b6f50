// Counts the messages that the room's stream brings from now on, and those that are missing:
// sequences have no holes, so a gap is a lost message, and so is one that the service reports as
// lost.

export type Counts = { readonly received: number; readonly lost: number }

export function countMessages(
  url: string,
  events: { readonly counts: (counts: Counts) => void; readonly wrote: (user: string) => void }
): void {
  let received = 0
  let lost = 0
  let next: number | undefined
  const source = new EventSource(url)
  const seen = (seq: number): void => {
    if (next !== undefined && seq > next) lost += seq - next
    next = seq + 1
  }
  source.addEventListener('message', ({ data }: MessageEvent<string>) => {
    const { seq, user } = JSON.parse(data) as { seq: number; user: string }
    seen(seq)
    received++
    events.wrote(user)
    events.counts({ received, lost })
  })
  source.addEventListener('lost', ({ data }: MessageEvent<string>) => {
    seen((JSON.parse(data) as { seq: number }).seq)
    lost++
    events.counts({ received, lost })
  })
  source.addEventListener('reset', () => {
    next = undefined
  })
}
