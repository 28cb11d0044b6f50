// The page in a real Chromium on bad networks and through restarts: it says how its connection is,
// comes back, and is complete.
import t from 'tap'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName, postStored, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { Relay } from '../support/relay.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const HEARTBEAT_MS = 6000

const cluster = await startCluster(t)
const browser = await openChromium(t)

const post = (url: string, room: string, text: string): Promise<void> =>
  postStored(url, room, 'ann', text)

t.test(
  'a network that swallows packets is noticed, and the page is complete again within two heartbeats',
  async t => {
    const service = await startService(t, {
      redisNodes: cluster.urls,
      env: { HEARTBEAT_MS: String(HEARTBEAT_MS) }
    })
    const relay = await Relay.start(t, service.url)
    const room = newName()
    const chat = await ChatPage.enter(t, browser, relay.url, room)
    await chat.open()
    await post(service.url, room, 'before')
    await chat.shows('before')
    const startedAt = performance.now()
    relay.swallowOpen()
    await post(service.url, room, 'swallowed')
    await chat.shows('swallowed')
    const tookMs = performance.now() - startedAt
    t.comment(
      `noticed, reopened and complete after ${Math.round(tookMs)} ms of ${2 * HEARTBEAT_MS}`
    )
    t.ok(tookMs > HEARTBEAT_MS / 2, 'the relay did swallow packets')
    t.ok(tookMs < 2 * HEARTBEAT_MS)
    await chat.becomes('live')
    t.same(await chat.seqs(), [1, 2])
  }
)

t.test(
  'while nothing passes, the page does not say that it is live, and it is complete when the network is back',
  async t => {
    const service = await startService(t, {
      redisNodes: cluster.urls,
      env: { HEARTBEAT_MS: String(HEARTBEAT_MS) }
    })
    const relay = await Relay.start(t, service.url)
    const room = newName()
    const chat = await ChatPage.enter(t, browser, relay.url, room)
    await chat.open()
    relay.swallowAll()
    await chat.becomes('reconnecting')
    await post(service.url, room, 'swallowed')
    relay.heal()
    await chat.becomes('live')
    await chat.shows('swallowed')
    t.same(await chat.seqs(), [1])
  }
)

t.test('in a quiet room the page keeps its stream over several heartbeats', async t => {
  const service = await startService(t, { redisNodes: cluster.urls, env: { HEARTBEAT_MS: '500' } })
  const chat = await ChatPage.enter(t, browser, service.url, newName())
  await chat.open()
  const states: string[] = []
  await chat.page.exposeFunction('note', (state: string) => {
    states.push(state)
  })
  await chat.page.evaluate(
    "new MutationObserver(() => note(document.querySelector('#state').dataset.state)).observe(document.querySelector('#state'), { attributes: true })"
  )
  await chat.page.waitForTimeout(5000)
  t.same(states, [], 'its state never changed in ten intervals of 500 ms')
  const metrics = await (await fetch(`${service.url}/metrics`)).text()
  t.notMatch(metrics, /^dialogs_streams_ended_total\{[^}]*\} [1-9]/m)
})

t.test(
  'pages and plain EventSources come back from restarts without a proxy, and miss nothing',
  async t => {
    const service = await startService(t, { redisNodes: cluster.urls, env: { RETRY_MS: '200' } })
    const room = newName()
    const chats = await Promise.all(
      sequence(1, 4).map(() => ChatPage.enter(t, browser, service.url, room))
    )
    // A browser allows six connections to a service. The page itself has one and needs another.
    const readers =
      "window.readers = Array.from({ length: 4 }, () => { const seqs = []; const source = new EventSource('/rooms/ROOM/events'); source.onmessage = ({ data }) => seqs.push(JSON.parse(data).seq); return { source, seqs } })"
    for (const chat of chats) {
      await chat.open()
      await chat.page.evaluate(readers.replace('ROOM', room))
    }
    let count = 0
    const write = async (): Promise<void> => {
      count++
      await post(service.url, room, `message ${count}`)
    }
    await write()
    for (const signal of ['SIGTERM', 'SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
      await write()
      await service.end(signal)
      await Promise.all(
        chats.map(chat => chat.page.waitForSelector('#state:not([data-state="live"])'))
      )
      await service.start()
      await write()
      for (const chat of chats) await chat.becomes('live')
    }
    await write()
    for (const chat of chats) {
      await chat.shows(`message ${count}`)
      t.same(await chat.seqs(), sequence(1, count))
      await until('the EventSources are complete', () =>
        chat.page.evaluate(`window.readers.every(({ seqs }) => seqs.includes(${count}))`)
      )
      t.same(
        await chat.page.evaluate('window.readers.map(({ seqs }) => seqs)'),
        sequence(1, 4).map(() => sequence(1, count))
      )
      t.same(
        await chat.page.evaluate('window.readers.map(({ source }) => source.readyState)'),
        [1, 1, 1, 1]
      )
    }
  }
)
