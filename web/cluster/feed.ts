// The cluster as it changes. The browser's EventSource reopens the stream by itself. Silence for
// two and a half heartbeats counts as a dead connection, and then the stream is opened again.
import { type Figures, type Picture } from './picture.js'

export type FeedEvents = {
  readonly picture: (picture: Picture) => void
  readonly figures: (figures: readonly Figures[]) => void
  /** This page does not ask for a token. */
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
      // Any status but 200 ends an EventSource for good, so another one is opened later.
      if (source?.readyState === EventSource.CLOSED) heard()
    })
    heard()
  }

  events.state('connecting')
  open()
}
