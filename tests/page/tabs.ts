// One stream for all tabs of a browser, in a real Chromium: how many streams there are, what each
// tab gets while rooms come and go, and what happens without a SharedWorker.
import { setTimeout as sleep } from 'node:timers/promises'
import { createCluster } from 'redis'
import t from 'tap'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName, postStored, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const service = await startService(t, { redisNodes: cluster.urls, env: { AUDIT_MS: '300' } })
const browser = await openChromium(t)

/**
 * Fast enough for messages to arrive at every moment, and slow enough for ten tabs on one small
 * machine.
 */
const WRITE_EVERY_MS = 30

const post = (room: string, text: string): Promise<void> =>
  postStored(service.url, room, 'ann', text)

/** How many streams the service has open. */
async function streams(): Promise<number> {
  const metrics = await (await fetch(`${service.url}/metrics`)).text()
  return Number(/^dialogs_streams (\d+)$/m.exec(metrics)?.[1])
}

t.test('thirty tabs share one stream, each of them can send, and all of them show it', async t => {
  const room = newName()
  const first = await ChatPage.enter(t, browser, service.url, room)
  const others = await Promise.all(
    sequence(1, 29).map(() =>
      ChatPage.visitIn(t, first.page.context(), service.url, `?chat_id=${room}`)
    )
  )
  const tabs = [first, ...others]
  for (const tab of tabs) await tab.open()
  t.equal(await streams(), 1)
  for (const [index, tab] of tabs.entries()) {
    const startedAt = performance.now()
    await tab.send('ann', `from tab ${index + 1}`)
    t.ok(performance.now() - startedAt < 5000, `tab ${index + 1} is not silenced`)
  }
  for (const tab of tabs) {
    await tab.shows('from tab 30')
    t.same(await tab.seqs(), sequence(1, 30))
  }
})

t.test(
  'rooms come and go while people write: every tab has every message once, in order',
  async t => {
    const rooms = [newName(), newName(), newName()]
    const [home = ''] = rooms
    const first = await ChatPage.enter(t, browser, service.url, home)
    const context = first.page.context()
    const stop = new AbortController()
    let written = 0
    const writing = (async () => {
      while (!stop.signal.aborted) {
        written++
        await Promise.all(rooms.map(room => post(room, `message ${written}`)))
        await sleep(WRITE_EVERY_MS)
      }
    })()
    await first.open()
    const tabs: ChatPage[] = []
    for (let round = 0; round < 3; round++) {
      for (const room of rooms) {
        const tab = await ChatPage.visitIn(t, context, service.url, `?chat_id=${room}`)
        await tab.open()
        tabs.push(tab)
      }
      // Tabs are closed and opened again, or closed for good.
      await tabs[round]?.close()
      await tabs[round]?.open()
      await tabs.splice(-2, 1)[0]?.page.close()
      t.equal(
        await first.page.getAttribute('#state', 'data-state'),
        'live',
        'the others see nothing of it'
      )
    }
    stop.abort()
    await writing
    for (const tab of [first, ...tabs]) {
      await tab.shows(`message ${written}`)
      const seqs = await tab.seqs()
      t.same(seqs, sequence(1, written).slice(-seqs.length), 'without a hole or a repeat')
      t.equal(await tab.page.locator('[data-missing]').count(), 0)
    }
    await until('one stream is left', async () => (await streams()) === 1)
  }
)

t.test('a stream has up to 100 rooms, and the next room gets a second one', async t => {
  const rooms = sequence(1, 101).map(() => newName())
  const chat = await ChatPage.enter(t, browser, service.url, rooms[0] ?? '')
  // A port for each room, as 101 tabs would have.
  await chat.page.evaluate(
    `(rooms) => {
    const policy = trustedTypes.createPolicy('test', { createScriptURL: (url) => url })
    const address = policy.createScriptURL(document.querySelector('script[type="module"]').src)
    window.heard = rooms.map(() => [])
    window.ports = rooms.map((room, index) => {
      const { port } = new SharedWorker(address, { type: 'module', name: 'dialogs' })
      port.onmessage = ({ data }) => {
        if (data.type === 'roll-call') port.postMessage({ type: 'here' })
        else window.heard[index].push(data.type === 'entry' ? data.entry.text : data.state)
      }
      return port
    })
    window.enter = (from, to) => { for (let i = from; i < to; i++) window.ports[i].postMessage({ type: 'join', room: rooms[i], cursor: '0' }) }
  }`
      .replace('(rooms) =>', '(function (rooms)')
      .concat(`)(${JSON.stringify(rooms)})`)
  )
  const live = (): Promise<number> =>
    chat.page.evaluate("window.heard.filter(lines => lines.includes('live')).length")
  await chat.page.evaluate('enter(0, 99)')
  await until('99 are live', async () => (await live()) === 99)
  t.equal(await streams(), 1)
  await chat.page.evaluate('enter(99, 100)')
  await until('100 are live', async () => (await live()) === 100)
  t.equal(await streams(), 1)
  await chat.page.evaluate('enter(100, 101)')
  await until('101 are live', async () => (await live()) === 101)
  t.equal(await streams(), 2)
  for (const room of rooms) await post(room, `for ${room}`)
  await until('each has its own', async () =>
    chat.page.evaluate(`(${JSON.stringify(rooms)}).every((room, index) => {
    const texts = window.heard[index].filter(line => line.startsWith('for '))
    return texts.length === 1 && texts[0] === 'for ' + room
  })`)
  )
})

t.test("a room that the service refuses does not end another tab's stream", async t => {
  const room = newName()
  const chat = await ChatPage.enter(t, browser, service.url, room)
  await chat.open()
  const refused = await ChatPage.visitIn(t, chat.page.context(), service.url, '?chat_id=a%7Bb%7D')
  await refused.page.waitForSelector('#chooser:visible')
  await post(room, 'still here')
  await chat.shows('still here')
})

t.test('after a rewind all tabs of the room show what is valid and nothing else', async t => {
  const room = newName()
  await post(room, 'one')
  await post(room, 'two')
  await post(room, 'three')
  const first = await ChatPage.enter(t, browser, service.url, room)
  const second = await ChatPage.visitIn(t, first.page.context(), service.url, `?chat_id=${room}`)
  for (const tab of [first, second]) {
    await tab.open()
    await tab.shows('three')
  }
  const redis = createCluster({ rootNodes: cluster.urls.map(url => ({ url })) })
  await redis.connect()
  t.teardown(() => redis.disconnect())
  const log = `room:{${room}}:log`
  const [last, before] = await redis.xRevRange(log, '+', '-', { COUNT: 2 })
  await redis.xDel(log, last?.id ?? '')
  await redis.sendCommand(log, false, ['XSETID', log, before?.id ?? ''])
  for (const tab of [first, second]) {
    await until('the void message is gone', async () => !(await tab.texts()).includes('three'))
    t.match(await tab.notice(), /earlier state/)
  }
  await post(room, 'another three')
  for (const tab of [first, second]) {
    await tab.shows('another three')
    t.same(await tab.texts(), ['one', 'two', 'another three'])
  }
})

/** Ends the SharedWorker as the browser does when it runs out of memory: without a word. */
async function endWorker(): Promise<void> {
  const session = await browser.newBrowserCDPSession()
  const { targetInfos } = await session.send('Target.getTargets', {
    filter: [{ type: 'shared_worker' }]
  })
  for (const { targetId } of targetInfos) await session.send('Target.closeTarget', { targetId })
}

t.test('when the worker ends, its tabs start it again and have every message once', async t => {
  const room = newName()
  const first = await ChatPage.enter(t, browser, service.url, room)
  const second = await ChatPage.visitIn(t, first.page.context(), service.url, `?chat_id=${room}`)
  const tabs = [first, second]
  for (const tab of tabs) await tab.open()
  await post(room, 'before')
  // A worker that ends within its first round of roll calls, 10 s, is not started again.
  for (const { page } of tabs) {
    await until('a round has passed', () => page.evaluate('performance.now() > 11_000'))
  }
  await endWorker()
  await until('its streams have ended', async () => (await streams()) === 0)
  await post(room, 'meanwhile')
  for (const tab of tabs) {
    await tab.shows('meanwhile')
    await tab.becomes('live')
  }
  await post(room, 'afterwards')
  for (const tab of tabs) {
    await tab.shows('afterwards')
    t.same(await tab.seqs(), [1, 2, 3])
  }
  await until('one stream is shared again', async () => (await streams()) === 1)
})

for (const [how, prepare] of [
  [
    'where there is no SharedWorker',
    (page: ChatPage['page']) => page.addInitScript('delete window.SharedWorker')
  ],
  [
    'where the worker cannot be loaded',
    (page: ChatPage['page']) =>
      page.addInitScript(
        "window.SharedWorker = class extends SharedWorker { constructor () { super(trustedTypes.createPolicy('broken', { createScriptURL: (url) => url }).createScriptURL('/chat/none.js')) } }"
      )
  ]
] as const) {
  t.test(`${how} a tab has its own stream, closes it while hidden, and resumes`, async t => {
    const room = newName()
    await until('no stream of the tests before is left', async () => (await streams()) === 0)
    const chat = await ChatPage.visit(t, browser, service.url, '')
    await prepare(chat.page)
    await chat.page.goto(`${service.url}/chat?chat_id=${room}`)
    await chat.open()
    await chat.send('ann', 'one')
    await chat.shows('one')
    t.equal(await streams(), 2, "the room's and the person's")
    // A headless browser shows every tab, so the page is told that it is hidden.
    const setHidden = (isHidden: boolean): Promise<unknown> =>
      chat.page.evaluate(`
      Object.defineProperty(document, 'hidden', { configurable: true, get: () => ${isHidden} })
      document.dispatchEvent(new Event('visibilitychange'))`)
    await setHidden(true)
    await until('the stream is closed', async () => (await streams()) === 0)
    await post(room, 'two')
    t.same(await chat.texts(), ['one'])
    await setHidden(false)
    await chat.shows('two')
    await post(room, 'three')
    await chat.shows('three')
    t.same(await chat.seqs(), [1, 2, 3])
  })
}
