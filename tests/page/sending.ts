// Sending from the page in a real Chromium: each press is one message, stored once and in order,
// whatever the network does.
import t from 'tap'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName, readAll } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const service = await startService(t, { redisNodes: cluster.urls })
const browser = await openChromium(t)

const storedTexts = async (room: string): Promise<unknown[]> =>
  (await readAll(service.url, room)).map(({ text }) => text)

/** Holds the page's POSTs back until they are released, and records their keys. */
async function holdPosts(
  chat: ChatPage
): Promise<{ letGo: () => void; keys: Array<string | undefined> }> {
  const keys: Array<string | undefined> = []
  let letGo = (): void => {}
  const held = new Promise<void>(resolve => {
    letGo = resolve
  })
  await chat.page.route('**/messages', async route => {
    keys.push(route.request().headers()['idempotency-key'])
    await held
    await route.continue()
  })
  return { letGo, keys }
}

async function type(chat: ChatPage, text: string): Promise<void> {
  await chat.page.focus('#text')
  await chat.page.keyboard.type(text)
  await chat.page.keyboard.press('Enter')
}

t.test('while POSTs are slow, each press is a message of its own, in order', async t => {
  const room = newName()
  const chat = await ChatPage.enter(t, browser, service.url, room)
  const posts = await holdPosts(chat)
  await chat.open()
  await chat.page.fill('#user', 'ann')
  for (const text of ['alpha', 'beta', 'gamma']) {
    await type(chat, text)
    t.equal(await chat.text(), '', 'the field is emptied at once')
  }
  t.match(await chat.pending(), [
    { state: 'sending', text: 'alpha' },
    { state: 'waiting', text: 'beta' },
    { state: 'waiting', text: 'gamma' }
  ])
  posts.letGo()
  await chat.shows('gamma')
  t.same(await chat.texts(), ['alpha', 'beta', 'gamma'])
  t.equal(new Set(posts.keys).size, 3, 'each has its own key')
  await until('nothing is shown twice', async () => (await chat.pending()).length === 0)
  t.same(await storedTexts(room), ['alpha', 'beta', 'gamma'])
})

t.test('Send leaves the focus in the field, so that a phone keeps its keyboard', async t => {
  const chat = await ChatPage.enter(t, browser, service.url, newName())
  await chat.write('ann', 'one')
  await chat.page.focus('#text')
  await chat.page.click('#send')
  await chat.hasSentAll()
  t.equal(await chat.page.evaluate('document.activeElement.id'), 'text')
  t.equal(await chat.text(), '')
})

t.test('a double click on Send stores one message', async t => {
  const room = newName()
  const chat = await ChatPage.enter(t, browser, service.url, room)
  const posts = await holdPosts(chat)
  await chat.open()
  await chat.write('ann', 'once')
  await chat.page.dblclick('#send')
  posts.letGo()
  await chat.shows('once')
  t.equal(posts.keys.length, 1)
  await chat.send('ann', 'after it')
  await chat.shows('after it')
  t.same(await storedTexts(room), ['once', 'after it'])
})

t.test('the same text twice is two messages', async t => {
  const room = newName()
  const chat = await ChatPage.enter(t, browser, service.url, room)
  await chat.send('ann', 'knock')
  await chat.send('ann', 'knock')
  t.same(await storedTexts(room), ['knock', 'knock'])
})

t.test('a POST whose answer is cut off is repeated with the same key and stored once', async t => {
  const room = newName()
  const chat = await ChatPage.enter(t, browser, service.url, room)
  const keys: Array<string | undefined> = []
  await chat.page.route('**/messages', async route => {
    keys.push(route.request().headers()['idempotency-key'])
    const response = await route.fetch()
    if (keys.length <= 2) await route.abort('connectionreset')
    else await route.fulfill({ response })
  })
  await chat.send('ann', 'once')
  t.equal(keys.length, 3)
  t.equal(new Set(keys).size, 1)
  t.same(await storedTexts(room), ['once'])
})

t.test(
  'a page that is offline for ten minutes gives up nothing, and sends at once when the network is back',
  async t => {
    const room = newName()
    const chat = await ChatPage.enter(t, browser, service.url, room)
    await chat.page.clock.install()
    await chat.page.context().setOffline(true)
    await chat.page.fill('#user', 'ann')
    for (const text of ['first', 'second']) await type(chat, text)
    await chat.page.clock.runFor(600_000)
    t.match(await chat.pending(), [
      { state: 'sending', text: 'first', progress: /Trying again/ },
      { state: 'waiting', text: 'second' }
    ])
    // By now the page waits 7.5 s or more between two attempts, so only the event can shorten the
    // wait.
    await chat.page.context().setOffline(false)
    await chat.hasSentAll(5000)
    t.same(await storedTexts(room), ['first', 'second'])
  }
)

t.test('a message that is being sent survives a reload, and is stored once', async t => {
  const room = newName()
  const chat = await ChatPage.enter(t, browser, service.url, room)
  const keys: Array<string | undefined> = []
  let isCut = true
  await chat.page.route('**/messages', async route => {
    keys.push(route.request().headers()['idempotency-key'])
    const response = await route.fetch()
    if (isCut) await route.abort('connectionreset')
    else await route.fulfill({ response })
  })
  await chat.page.fill('#user', 'ann')
  await chat.page.press('#user', 'Tab')
  for (const text of ['first', 'second']) await type(chat, text)
  await chat.page.fill('#text', 'a draft')
  await until('it was tried', () => keys.length >= 2)
  await chat.page.reload()
  t.equal(await chat.text(), 'a draft')
  isCut = false
  await chat.hasSentAll()
  t.same(await storedTexts(room), ['first', 'second'])
  t.equal(new Set(keys).size, 2)
})

t.test(
  'a refused message says why, does not hold up others, and can be sent again under another name or discarded',
  async t => {
    const room = newName()
    const chat = await ChatPage.enter(t, browser, service.url, room)
    await chat.open()
    await chat.page.fill('#user', '{ann}')
    await type(chat, 'refused')
    await until('the reason is shown', async () => /brace/.test(await chat.notice()))
    t.match(await chat.pending(), [
      { state: 'failed', text: 'refused', progress: /Not sent.*brace/ }
    ])
    await type(chat, 'refused too')
    await until(
      'both have failed',
      async () => (await chat.pending()).filter(({ state }) => state === 'failed').length === 2
    )
    await chat.page.fill('#user', 'ann')
    await type(chat, 'accepted')
    await chat.shows('accepted')
    await chat.page.locator('#pending .discard').nth(1).click()
    await chat.page.click('#pending .retry')
    await chat.shows('refused')
    t.same(await storedTexts(room), ['accepted', 'refused'])
    await until('nothing is pending', async () => (await chat.pending()).length === 0)
  }
)

t.test('a hundred messages may wait; the next one stays in the field', async t => {
  const room = newName()
  const chat = await ChatPage.enter(t, browser, service.url, room)
  const posts = await holdPosts(chat)
  await chat.page.fill('#user', 'ann')
  for (let n = 1; n <= 99; n++) await type(chat, `m${n}`)
  await type(chat, 'm100')
  t.equal(await chat.text(), '')
  await type(chat, 'm101')
  t.equal(await chat.text(), 'm101')
  t.match(await chat.notice(), /Too many/)
  posts.letGo()
  await chat.hasSentAll()
  t.same(
    await storedTexts(room),
    Array.from({ length: 100 }, (_, n) => `m${n + 1}`)
  )
})

t.test('the Enter that accepts a composed word sends nothing', async t => {
  const room = newName()
  const chat = await ChatPage.enter(t, browser, service.url, room)
  await chat.write('ann', '日本語')
  const press = (init: string): Promise<boolean> =>
    chat.page.evaluate(`(() => {
    const event = new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ${init} })
    return document.querySelector('#text').dispatchEvent(event)
  })()`)
  t.ok(await press('isComposing: true, keyCode: 229'), 'as Chromium and Firefox report it')
  t.ok(await press('keyCode: 229'), 'as Safari reports it: after the end of the composition')
  t.same([await chat.text(), await chat.pending()], ['日本語', []])
  t.notOk(await press('keyCode: 13'), 'the next one sends')
  await chat.hasSentAll()
  t.same(await storedTexts(room), ['日本語'])
})
