// Clients that cannot be changed: the npm package `eventsource` and Chromium's own EventSource, on
// one process without a proxy. Temporary conditions (restarts, too many streams, an unreachable
// store) never close them for good, and they miss nothing.
import { EventSource } from 'eventsource'
import t, { type Test } from 'tap'
import { openChromium } from '../support/chromium.js'
import { freshRoom, post, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const READERS = 200
const PAGES = 2
/** A browser opens six connections to a host, so 200 streams need several host names. */
const NAMES = 40
const STREAMS_PER_NAME = READERS / NAMES

type Follower = {
  readonly seqs: () => Promise<number[]>
  /** readyState 2: closed for good. */
  readonly isClosed: () => Promise<boolean>
}

function follow(t: Test, url: string): Follower & { readonly close: () => void } {
  const seqs: number[] = []
  const source = new EventSource(url)
  const close = (): void => {
    source.close()
  }
  t.teardown(close)
  source.onmessage = ({ data }) => {
    seqs.push(JSON.parse(data).seq)
  }
  return {
    seqs: async () => seqs,
    isClosed: async () => source.readyState === EventSource.CLOSED,
    close
  }
}

async function followInChromium(t: Test, base: string, room: string): Promise<Follower[]> {
  const browser = await openChromium(t)
  return await Promise.all(
    sequence(1, PAGES).map(async () => {
      const context = await browser.newContext()
      const page = await context.newPage()
      await page.goto(`${base}/health/live`)
      await page.evaluate(`
      globalThis.seqs = []
      globalThis.source = new EventSource('/rooms/${room}/events')
      source.onmessage = ({ data }) => { seqs.push(JSON.parse(data).seq) }`)
      return {
        // The script above has put it there.
        seqs: async () => (await page.evaluate('seqs')) as number[],
        isClosed: async () => (await page.evaluate('source.readyState === 2')) as boolean
      }
    })
  )
}

/** READERS streams in one browser, in frames that use different host names for the same service. */
async function crowdInChromium(t: Test, base: string, room: string): Promise<Follower[]> {
  // All frames in one process, instead of a process for each host name.
  const browser = await openChromium(t, { flags: ['--disable-site-isolation-trials'] })
  const page = await browser.newPage()
  const { port } = new URL(base)
  await page.setContent(
    sequence(1, NAMES)
      .map(n => `<iframe src="http://reader-${n}.localhost:${port}/health/live"></iframe>`)
      .join('')
  )
  const frames = page.frames().filter(frame => frame !== page.mainFrame())
  t.equal(frames.length, NAMES)
  return await Promise.all(
    frames.map(async frame => {
      await frame.evaluate(`
      globalThis.streams = Array.from({ length: ${STREAMS_PER_NAME} }, () => {
        const stream = { seqs: [], source: new EventSource('/rooms/${room}/events') }
        stream.source.onmessage = ({ data }) => { stream.seqs.push(JSON.parse(data).seq) }
        return stream
      })`)
      return {
        // The stream that has received least, or one that has something wrong.
        seqs: async () =>
          (await frame.evaluate(`streams.map(({ seqs }) => seqs).sort((a, b) =>
            Number(b.some((seq, index) => seq !== index + 1)) -
            Number(a.some((seq, index) => seq !== index + 1)) || a.length - b.length)[0]`)) as number[],
        isClosed: async () =>
          (await frame.evaluate('streams.some(({ source }) => source.readyState === 2)')) as boolean
      }
    })
  )
}

// One after the other: during a wait, only the followers up to the first that is behind are asked.
// To ask all of them, again and again, takes the browser the time in which it should read.
async function haveAll(followers: readonly Follower[], count: number): Promise<boolean> {
  for (const { seqs } of followers) if ((await seqs()).length < count) return false
  return true
}

async function closedForGood(followers: readonly Follower[]): Promise<number> {
  return (await Promise.all(followers.map(({ isClosed }) => isClosed()))).filter(Boolean).length
}

/**
 * As many restarts as fit into a minute and a half on a busy machine. CHROMIUM_RESTARTS=10 is the
 * full size.
 */
const RESTARTS_IN_CHROMIUM = Number(process.env['CHROMIUM_RESTARTS'] ?? 4)

const CROWDS = {
  'the npm package': async (t: Test, url: string, room: string) =>
    sequence(1, READERS).map(() => follow(t, `${url}/rooms/${room}/events`)),
  Chromium: crowdInChromium
}

for (const [who, crowd] of Object.entries(CROWDS)) {
  const restarts = who === 'Chromium' ? RESTARTS_IN_CHROMIUM : 10
  t.test(
    `200 readers (${who}) follow a room through ${restarts} restarts by SIGTERM and SIGKILL`,
    async t => {
      const service = await startService(t, {
        redisNodes: cluster.urls,
        env: { DRAIN_MS: '500', RETRY_MS: '200' }
      })
      const room = freshRoom()
      const followers = await crowd(t, service.url, room)
      let sent = 0
      const send = async (): Promise<void> => {
        if ((await post(service.url, room, 'ann', `text ${sent + 1}`)).status === 201) sent++
      }
      for (const restart of sequence(1, restarts)) {
        await send()
        await until('all have what was sent', () => haveAll(followers, sent), 60_000)
        // Some stream is always being opened while the process stops: new ones here, returning ones
        // in real life.
        const late = sequence(1, 20).map(() => follow(t, `${service.url}/rooms/${room}/events`))
        followers.push(...(restart === 1 ? late : []))
        await service.end(restart % 2 === 1 ? 'SIGTERM' : 'SIGKILL')
        await service.start()
        await send()
        t.equal(
          await closedForGood([...followers, ...late]),
          0,
          `restart ${restart}: none is closed for good`
        )
        if (restart > 1) for (const { close } of late) close()
      }
      await until('all have everything', () => haveAll(followers, sent), 60_000)
      for (const { seqs } of followers) t.same(await seqs(), sequence(1, sent))
    }
  )
}

t.test('streams beyond STREAMS_MAX wait and get their turn', async t => {
  const { url } = await startService(t, {
    redisNodes: cluster.urls,
    env: { STREAMS_MAX: '20', RETRY_MS: '100' }
  })
  const room = freshRoom()
  await post(url, room, 'ann', 'hello')
  const first = sequence(1, 20).map(() => new EventSource(`${url}/rooms/${room}/events`))
  await until('as many as allowed are open', () =>
    first.every(({ readyState }) => readyState === EventSource.OPEN)
  )
  const late = [
    ...sequence(1, 15).map(() => follow(t, `${url}/rooms/${room}/events`)),
    ...(await followInChromium(t, url, room))
  ]
  await until(
    'they were told to come back',
    async () =>
      Number(
        /^dialogs_streams_put_off_total\{code="TOO_MANY_STREAMS"\} (\d+)$/m.exec(
          await (await fetch(`${url}/metrics`)).text()
        )?.[1] ?? 0
      ) > 60
  )
  t.equal(await closedForGood(late), 0)
  for (const source of first) source.close()
  await until('there is room for all', () => haveAll(late, 1))
  t.equal(await closedForGood(late), 0)
})

t.test('while the store is out of reach, streams wait for it', async t => {
  const own = await startCluster(t)
  const { url } = await startService(t, {
    redisNodes: own.urls,
    env: {
      RETRY_MS: '100',
      STORE_DEADLINE_MS: '1000',
      COMMAND_TIMEOUT_MS: '700',
      HEARTBEAT_MS: '500'
    }
  })
  const [room, other] = [freshRoom(), freshRoom()]
  await post(url, room, 'ann', 'hello')
  await post(url, other, 'ann', 'hello')
  const early = [
    ...sequence(1, 20).map(() => follow(t, `${url}/rooms/${room}/events`)),
    ...(await followInChromium(t, url, room))
  ]
  await until('they have the history', () => haveAll(early, 1))
  for (const node of own.nodes) await node.kill('SIGSTOP')
  const late: Follower[] = [room, other].flatMap(room =>
    sequence(1, 20).map(() => follow(t, `${url}/rooms/${room}/events`))
  )
  late.push(...(await followInChromium(t, url, other)))
  await new Promise(resolve => setTimeout(resolve, 5000))
  t.equal(await closedForGood([...early, ...late]), 0)
  for (const node of own.nodes) await node.kill('SIGCONT')
  await until('they have the history', () => haveAll([...early, ...late], 1), 60_000)
  await until(
    'a POST is accepted',
    async () => (await post(url, room, 'ann', 'again')).status === 201,
    60_000
  )
  await until('they have the new message', () => haveAll(early, 2), 60_000)
  t.equal(await closedForGood([...early, ...late]), 0)
})
