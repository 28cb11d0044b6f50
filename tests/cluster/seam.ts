// The seam between history and live messages: readers join and leave at any moment while two
// processes write, and no reader misses or repeats anything.
import t from 'tap'
import { freshRoom, post, readAll, request, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse, type SseReader } from '../support/sse.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
// A short ring and short pages, so that readers also cross from the store to the ring.
const env = { RING_LENGTH_MAX: '200', PAGE_LENGTH: '128', SEGMENT_LENGTH: '256' }
const services = await Promise.all([
  startService(t, { redisNodes: cluster.urls, env }),
  startService(t, { redisNodes: cluster.urls, env })
])
const urls = services.map(({ url }) => url)
const urlOf = (index: number): string => urls[index % 2] ?? ''

/**
 * Writes with `writers` loops at once until it is told to stop, and returns how many messages were
 * acknowledged.
 */
function writing(
  room: string,
  writers: number
): { acknowledged: () => number; stop: () => Promise<number> } {
  const stopping = new AbortController()
  let acknowledged = 0
  const loops = sequence(1, writers).map(async writer => {
    while (!stopping.signal.aborted) {
      const { status } = await post(urlOf(writer), room, `user-${writer}`, `text ${acknowledged}`)
      if (status === 201) acknowledged++
    }
  })
  return {
    acknowledged: () => acknowledged,
    stop: async () => {
      stopping.abort()
      await Promise.all(loops)
      return acknowledged
    }
  }
}

t.test('readers that join while two processes write get 1, 2, 3 …, each once', async t => {
  const room = freshRoom()
  const load = writing(room, 16)
  const readers: SseReader[] = []
  for (const index of sequence(1, 40)) {
    const reader = openSse(t, `${urlOf(index)}/rooms/${room}/events`)
    readers.push(reader)
    await until('it has begun', () => reader.events.length > 0)
  }
  await until('much was written', () => load.acknowledged() > 500, 60_000)
  const head = await load.stop()
  for (const reader of readers) {
    await until('it has the head', () => reader.seqs.at(-1) === head)
    t.same(reader.seqs, sequence(1, head))
    t.equal(reader.events.filter(({ event }) => event === 'live').length, 1)
  }
  t.equal((await readAll(urlOf(0), room)).length, head)
})

t.test(
  'while both processes write, readers that are cut off resume at the other process where they were',
  async t => {
    const room = freshRoom()
    await post(urlOf(0), room, 'ann', 'first')
    const load = writing(room, 8)
    const followed = await Promise.all(
      sequence(1, 10).map(async index => {
        const seqs: number[] = []
        let lastId = ''
        for (const visit of sequence(1, 8)) {
          const reader = openSse(
            t,
            `${urlOf(index + visit)}/rooms/${room}/events`,
            lastId === '' ? {} : { 'last-event-id': lastId }
          )
          await until('it has some more', () => reader.seqs.length >= 20)
          reader.close()
          seqs.push(...reader.seqs)
          lastId = reader.events.findLast(({ event }) => event === 'message')?.id ?? ''
        }
        return seqs
      })
    )
    await load.stop()
    for (const seqs of followed) t.same(seqs, sequence(1, seqs.length))
  }
)

t.test(
  'last=n starts with exactly the newest n messages of a moment, and has no hole after them',
  async t => {
    const room = freshRoom()
    await post(urlOf(0), room, 'ann', 'first')
    const load = writing(room, 8)
    await until(
      'there is some history',
      async () =>
        Number((await request(`${urlOf(0)}/rooms/${room}/messages?limit=1`)).body['head']) > 100
    )
    const reader = openSse(t, `${urlOf(1)}/rooms/${room}/events?last=50`)
    await until('it is far beyond', () => reader.seqs.length > 300)
    const head = 1 + (await load.stop())
    await until('it has the head', () => reader.seqs.at(-1) === head)
    t.same(reader.seqs, sequence(reader.seqs[0] ?? 0, head))
    const live = reader.events.findIndex(({ event }) => event === 'live')
    t.ok(live >= 50, 'at least 50 came before it was live')
  }
)
