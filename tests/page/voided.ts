// What a person sees when what was on screen is void: the room was deleted, or its older messages
// have expired. In a real Chromium.
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { post, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const DAY_MS = 86_400_000
const KEPT_MS = 8_000
const { url } = await startService(t, {
  redisNodes: (await startCluster(t)).urls,
  env: { RETENTION_DAYS_BY_PREFIX: `short-:${(KEPT_MS / DAY_MS).toFixed(6)}` }
})
const browser = await openChromium(t)

t.test('a deleted room says so in every tab, and what comes later is shown', async t => {
  const room = `n${randomUUID().slice(0, 13)}`
  for (const text of ['one', 'two', 'three']) await post(url, room, 'ann', text)
  const first = await ChatPage.enter(t, browser, url, room)
  const second = await ChatPage.visitIn(t, first.page.context(), url, `?chat_id=${room}`)
  for (const tab of [first, second]) {
    await tab.open()
    await tab.shows('three')
  }
  t.match(await request(`${url}/rooms/${room}`, { method: 'DELETE' }), { status: 200 })
  for (const tab of [first, second]) {
    await until('its messages are gone', async () => (await tab.texts()).length === 0)
    t.equal(await tab.notice(), 'The room was deleted, and all of its messages with it.')
    await tab.becomes('live')
  }
  const newcomer = await ChatPage.enter(t, browser, url, room)
  await newcomer.open()
  t.equal(await newcomer.notice(), '', 'a newcomer is told nothing')
  await first.send('ann', 'a new life')
  for (const tab of [first, second, newcomer]) {
    await tab.shows('a new life')
    t.same(await tab.texts(), ['a new life'])
  }
})

t.test('not all readers of a deleted room ask for its messages at once', async t => {
  const room = `n${randomUUID().slice(0, 13)}`
  await post(url, room, 'ann', 'one')
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const tabs: ChatPage[] = []
  for (let n = 0; n < 10; n++) {
    const tab = await ChatPage.visitIn(t, context, url, `?chat_id=${room}`)
    await tab.open()
    tabs.push(tab)
  }
  const askedAt: number[] = []
  for (const { page } of tabs) {
    page.on('request', asked => {
      if (asked.url().startsWith(`${url}/rooms/${room}/messages`)) askedAt.push(performance.now())
    })
  }
  const deletedAt = performance.now()
  await request(`${url}/rooms/${room}`, { method: 'DELETE' })
  await until('each has asked', () => askedAt.length === tabs.length)
  const spreadMs = Math.max(...askedAt) - Math.min(...askedAt)
  t.comment(`within ${Math.round(spreadMs)} ms`)
  // Ten random moments within three seconds are never as close as this.
  t.ok(spreadMs > 500, `they asked within ${Math.round(spreadMs)} ms`)
  const lastMs = Math.max(...askedAt) - deletedAt
  t.ok(lastMs < 6000, `the last one asked after ${Math.round(lastMs)} ms`)
  for (const tab of tabs) await tab.becomes('live')
  t.equal(askedAt.length, tabs.length, 'each asked once')
})

t.test('a reader who comes back after messages expired is told, and sees the others', async t => {
  const room = `short-${randomUUID().slice(0, 13)}`
  await post(url, room, 'ann', 'old')
  const chat = await ChatPage.enter(t, browser, url, room)
  await chat.open()
  await chat.shows('old')
  await chat.close()
  await post(url, room, 'ann', 'missed')
  await until('both have expired', async () => {
    const { body } = await request(`${url}/rooms/${room}/messages`)
    return (body['messages'] as unknown[]).length === 0
  })
  const newcomer = await ChatPage.enter(t, browser, url, room)
  await newcomer.open()
  t.equal(await newcomer.notice(), '', 'who has read nothing is told nothing')
  await post(url, room, 'ann', 'left')
  await newcomer.shows('left')
  await chat.open()
  await chat.shows('left')
  t.same(await chat.texts(), ['left'], 'what has expired is not shown any longer')
  t.equal(
    await chat.notice(),
    'Older messages of this room have expired. These are the ones that are left.'
  )
})
