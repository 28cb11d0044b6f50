// The cluster as it changes. The browser's EventSource opens the stream again by itself; silence
// for two heartbeats and a half counts as a dead connection, and the stream is opened again.
import { type Figures, type Picture } from './picture.js'

export type FeedEvents = {
  readonly picture: (picture: Picture) => void
  readonly figures: (figures: readonly Figures[]) => void
  /** Nobody is asked for a token here. */
  readonly anybodyWrites: () => void
  readonly state: (state: 'connecting' | 'live' | 'lost') => void
}

const HEARTBEATS_MISSED = 2.5

export function followCluster(url: string, events: FeedEvents): void {
  let silenceMsMax = 60_000
  let timer: ReturnType<typeof setTimeout> | undefined
  let source: EventSource | undefined

  const heard = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      events.state('lost')
      open()
    }, silenceMsMax)
  }

  const open = (): void => {
    source?.close()
    source = new EventSource(url)
    source.addEventListener('ping', ({ data }: MessageEvent<string>) => {
      const { heartbeatMs } = JSON.parse(data) as { heartbeatMs?: number }
      if (heartbeatMs !== undefined) silenceMsMax = heartbeatMs * HEARTBEATS_MISSED
      heard()
    })
    source.addEventListener('anybody-writes', events.anybodyWrites)
    source.addEventListener('cluster', ({ data }: MessageEvent<string>) => {
      heard()
      events.state('live')
      events.picture(JSON.parse(data) as Picture)
    })
    source.addEventListener('figures', ({ data }: MessageEvent<string>) => {
      heard()
      events.state('live')
      events.figures((JSON.parse(data) as { shards: readonly Figures[] }).shards)
    })
    source.addEventListener('error', () => {
      events.state('lost')
      // A status that is no 200 ends an EventSource for good: open another one later.
      if (source?.readyState === EventSource.CLOSED) heard()
    })
    heard()
  }

  events.state('connecting')
  open()
}
