// The rooms of a process, with a store of which one shard does not answer.
import t from 'tap'
import { Hub } from '../../src/live/hub.js'
import { SingleOutput } from '../../src/live/output.js'
import { sequence } from '../support/client.js'
import { until } from '../support/until.js'

t.test(
  'the audit continues with the rooms of healthy shards while the rooms of a silent shard wait',
  async t => {
    const silent = (): void => undefined
    const looks = new Map<string, number>()
    const log = {
      head: async (room: string) => {
        looks.set(room, (looks.get(room) ?? 0) + 1)
        if (room !== 'healthy') await new Promise(() => undefined)
        return undefined
      },
      range: async () => [],
      expires: () => false,
      horizon: async () => ({ first: 1, reason: 'deleted' as const })
    }
    // For empty rooms only the head is read, and a hub only subscribes and unsubscribes.
    const store = { log, history: { range: async () => [] } }
    const subscriber = {
      subscribe: (
        _channel: string,
        { onSubscribed }: { onSubscribed: (isSettled: boolean) => void }
      ) => {
        onSubscribed(true)
      },
      unsubscribe: silent
    }
    const hub = new Hub(
      { ...store, shardOf: () => undefined },
      subscriber,
      {
        ringLengthMax: 100,
        ringBytesMax: 1e5,
        ringsBytesMax: 1e6,
        pageLength: 512,
        pageLengthMax: 512,
        pageBytesMax: 1e6,
        socketBytesMax: 1e5,
        pagesBytesMax: 1e6,
        pageReadsMax: 4,
        earlyLengthMax: 100,
        gapWaitMs: 5,
        roomLingerMs: 1000,
        auditMs: 80,
        recheckMs: 80,
        heartbeatMs: 1000,
        stalledMsMax: 1000
      },
      {
        gap: silent,
        reset: silent,
        earlyFull: silent,
        failed: silent,
        ringEvicted: silent,
        stalled: silent
      }
    )
    t.teardown(() => {
      hub.close()
    })
    // The part of a stream that a reader of an empty room uses.
    const stream = {
      isFull: false,
      hasEnded: false,
      write: silent,
      writeIfIdle: silent,
      drained: async () => undefined,
      drainedWithin: async () => true,
      fail: silent
    }
    const waiting = sequence(1, 100).map(n => `waiting ${n}`)
    for (const room of [...waiting, 'healthy']) {
      hub.join(room, new SingleOutput(stream), { after: undefined, last: undefined })
    }
    await until(
      'the healthy room is looked at again and again',
      () => (looks.get('healthy') ?? 0) >= 5
    )
    t.ok(waiting.every(room => looks.get(room) === 1))
  }
)
