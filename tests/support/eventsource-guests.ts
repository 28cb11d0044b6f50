// Readers for the drills that use other clients: the npm package `eventsource`, and a real
// browser's EventSource. According to the standard, an answer other than 200 ends an EventSource
// for good. Like a page would, these readers then open a new one after the last message that they
// have.
import { EventSource } from 'eventsource'
import type { Browser } from 'playwright-core'
import { type ReaderRecord } from '../drills/reader-record.js'
import { type Guest } from '../drills/trial.js'

const AGAIN_MS = 200
const POLL_MS = 100

type Event = { readonly type: string; readonly id: string; readonly data: string }

export async function eventSourceGuest(
  record: ReaderRecord,
  urls: readonly string[]
): Promise<Guest> {
  const ends: string[] = []
  let source: EventSource
  let timer: NodeJS.Timeout | undefined
  let cursor = ''
  let turn = 0
  const open = (): void => {
    source = new EventSource(`${urls[turn++ % urls.length]}${pathOf(record, cursor)}`)
    const take = ({ type, lastEventId: id, data }: MessageEvent): void => {
      cursor = id
      note(record, { type, id, data: String(data) })
    }
    for (const type of ['message', 'live', 'lost', 'reset']) source.addEventListener(type, take)
    source.addEventListener('error', error => {
      ends.push(error.message ?? 'error')
      if (source.readyState === source.CLOSED) timer = setTimeout(open, AGAIN_MS)
    })
  }
  open()
  return {
    record,
    ends,
    stop: async () => {
      clearTimeout(timer)
      source.close()
    }
  }
}

/** A page of its own with an EventSource. What it received is fetched ten times a second. */
export function browserGuest(
  browser: Browser
): (record: ReaderRecord, urls: readonly string[]) => Promise<Guest> {
  return async (record, urls) => {
    const page = await browser.newPage()
    await page.goto(`${urls[0]}/health/live`)
    await page.evaluate(`
      globalThis.seen = []
      globalThis.ends = []
      let cursor = ''
      const open = () => {
        const source = new EventSource(${JSON.stringify(pathOf(record, ''))} + (cursor === '' ? '' : '?after=' + cursor))
        for (const type of ['message', 'live', 'lost', 'reset']) {
          source.addEventListener(type, ({ lastEventId: id, data }) => { cursor = id; seen.push({ type, id, data }) })
        }
        source.onerror = () => {
          ends.push('error')
          if (source.readyState === 2) setTimeout(open, ${AGAIN_MS})
        }
      }
      open()`)
    const ends: string[] = []
    const timer = setInterval(() => {
      void fetch()
    }, POLL_MS)
    const fetch = async (): Promise<void> => {
      // The script above has put it there. The page may be closed by then.
      const got = (await page
        .evaluate('({ seen: seen.splice(0), ends: ends.splice(0) })')
        .catch(() => undefined)) as { seen: Event[]; ends: string[] } | undefined
      for (const event of got?.seen ?? []) note(record, event)
      ends.push(...(got?.ends ?? []))
    }
    return {
      record,
      ends,
      stop: async () => {
        clearInterval(timer)
        await page.close()
      }
    }
  }
}

const pathOf = ({ transcript: { room } }: ReaderRecord, cursor: string): string =>
  `/rooms/${encodeURIComponent(room)}/events${cursor === '' ? '' : `?after=${cursor}`}`

function note(record: ReaderRecord, { type, id, data }: Event): void {
  const seq = Number.parseInt(id, 10)
  switch (type) {
    case 'message':
      return record.message(seq, Buffer.from(data), performance.now())
    case 'lost':
      return record.lost(seq)
    case 'live':
      return record.live()
    case 'reset':
      return record.reset(seq, data)
  }
}
