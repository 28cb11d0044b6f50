// The person's dialogs in the page, in a real Chromium: live in every tab over one stream, in the
// list, the title and the icon.
import t, { type Test } from 'tap'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName, post, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const service = await startService(t, { redisNodes: (await startCluster(t)).urls })
const browser = await openChromium(t)
const { url } = service

type Person = { readonly user: string; readonly here: string; readonly there: string }

/** A person who has written in two rooms. */
async function newPerson(): Promise<Person> {
  const person = { user: newName(), here: newName(), there: newName() }
  for (const room of [person.there, person.here]) await post(url, room, person.user, 'hello')
  return person
}

async function enterAs(
  t: Test,
  { user }: Person,
  room: string,
  first?: ChatPage
): Promise<ChatPage> {
  const chat =
    first === undefined
      ? await ChatPage.enter(t, browser, url, room)
      : await ChatPage.visitIn(t, first.page.context(), url, `?chat_id=${room}`)
  if (first === undefined) {
    await chat.page.fill('#user', user)
    await chat.page.press('#user', 'Tab')
  }
  return chat
}

const unreadIn = (chat: ChatPage, room: string): Promise<string> =>
  chat.page.evaluate(`(() => {
    const row = [...document.querySelectorAll('#rooms > li')].find(each => each.querySelector('.name').textContent === ${JSON.stringify(room)})
    if (row === undefined) return 'no such row'
    const badge = row.querySelector('.badge')
    return badge.hidden ? '' : badge.textContent
  })()`)

const listed = (chat: ChatPage): Promise<string[]> =>
  chat.page.locator('#rooms .name').allTextContents()

async function streamsOf(): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text()
  return Number(/^dialogs_streams (\d+)$/m.exec(metrics)?.[1])
}

t.test('a message elsewhere is counted within moments, in every tab, over one stream', async t => {
  const person = await newPerson()
  const { here, there } = person
  const first = await enterAs(t, person, here)
  await until('the list is there', async () => (await listed(first)).length === 2)
  t.same(await listed(first), [here, there], 'newest activity first')
  const second = await enterAs(t, person, here, first)
  const third = await enterAs(t, person, here, first)
  await until('the third tab shows it as well', async () => (await listed(third)).includes(there))
  t.equal(await streamsOf(), 1, 'one stream for three tabs')

  const startedAt = performance.now()
  await post(url, there, 'bob', 'one')
  await until('it is counted', async () => (await unreadIn(first, there)) === '1')
  const tookMs = performance.now() - startedAt
  t.ok(tookMs < 5000, `after ${Math.round(tookMs)} ms`)
  await post(url, there, 'bob', 'two')
  for (const tab of [first, second, third]) {
    await until('it is counted everywhere', async () => (await unreadIn(tab, there)) === '2')
    t.equal((await listed(tab))[0], there, 'and its dialog has moved up')
    t.equal(await tab.page.title(), `(2) ${here} · Dialogs`)
    t.match(await tab.page.getAttribute('link[rel="icon"]', 'href'), /icon-unread\.svg$/)
  }

  // When it is read in one tab, it is read in all.
  const reading = await enterAs(t, person, there, first)
  await reading.open()
  await reading.shows('two')
  for (const tab of [first, second, third]) {
    await until('nothing is unread', async () => (await unreadIn(tab, there)) === '')
    t.equal(await tab.page.title(), `${here} · Dialogs`)
    t.match(await tab.page.getAttribute('link[rel="icon"]', 'href'), /icon\.svg$/)
  }
})

t.test(
  'a joined dialog appears, a left one goes, and another name has its own dialogs',
  async t => {
    const person = await newPerson()
    const chat = await enterAs(t, person, person.here)
    const invited = newName()
    await until('the list is there', async () => (await listed(chat)).includes(person.there))
    await request(`${url}/rooms/${invited}/users/${person.user}`, { method: 'PUT' })
    await until('it is there', async () => (await listed(chat)).includes(invited))
    await request(`${url}/rooms/${invited}/users/${person.user}`, { method: 'DELETE' })
    await until('it is gone', async () => !(await listed(chat)).includes(invited))
    const other = await newPerson()
    await chat.page.fill('#user', other.user)
    await chat.page.press('#user', 'Tab')
    await until('the rooms of the other', async () => (await listed(chat)).includes(other.there))
    t.notOk((await listed(chat)).includes(person.there))
    await post(url, person.there, 'bob', 'not for the other')
    await post(url, other.there, 'bob', 'for the other')
    await until('it is counted', async () => (await unreadIn(chat, other.there)) === '1')
    t.equal(await chat.page.title(), `(1) ${person.here} · Dialogs`)
  }
)

t.test('a row shows what was said last, in a line, and forgets what was deleted', async t => {
  const person = await newPerson()
  const { here, there, user } = person
  const chat = await enterAs(t, person, here)
  const lastIn = async (room: string): Promise<string> =>
    (await chat.page.locator('#rooms > li', { hasText: room }).locator('.last').textContent()) ?? ''
  await until('the list is there', async () => (await listed(chat)).length === 2)
  t.equal(await lastIn(there), 'You: hello')
  t.match(await chat.page.locator('#rooms .when').allTextContents(), [/^\d\d:\d\d$/, /^\d\d:\d\d$/])
  const { body: message } = await post(url, there, 'bob', `two\nlines, ${'long '.repeat(100)}`)
  await until('it is shown', async () => (await lastIn(there)).startsWith('bob: two lines, long'))
  const link = chat.page.locator('#rooms > li', { hasText: there }).locator('a')
  const [height, width] = await link.evaluate(a => [a.clientHeight, a.scrollWidth - a.clientWidth])
  t.ok(height < 60 && width <= 0, `it takes one line: ${height} px high, ${width} px too wide`)
  const path = `${there}/messages/${String(message['seq'])}?user=bob`
  t.equal((await request(`${url}/rooms/${path}`, { method: 'DELETE' })).status, 200)
  await until('it is gone', async () => (await lastIn(there)) === 'Message deleted')
  t.equal((await listed(chat))[0], there, 'its place in the list is the same')
  t.notMatch(await chat.page.locator('#rooms').innerHTML(), /two lines/)
  await post(url, there, user, '<b>not bold</b>')
  await until('it is text', async () => (await lastIn(there)) === 'You: <b>not bold</b>')
})

t.test('at midnight, what was today becomes a day of the week, and yesterday', async t => {
  const ann = await newPerson()
  const chat = await ChatPage.visit(t, browser, url, '')
  // The page looks every minute.
  await chat.page.addInitScript(`{
    const { setInterval } = window
    window.setInterval = (act, ms) => setInterval(act, ms === 60000 ? 100 : ms)
  }`)
  await chat.page.goto(`${url}/chat?chat_id=${ann.here}`)
  await chat.page.fill('#user', ann.user)
  await chat.page.press('#user', 'Tab')
  const times = chat.page.locator('#rooms .when')
  await until('the times are there', async () =>
    (await times.allTextContents()).every(time => /^\d\d:\d\d$/.test(time))
  )
  await chat.open()
  const heading = chat.page.locator('#list .day')
  await until('the day has its name', async () => (await heading.innerText()) === 'Today')
  await chat.page.evaluate(`{
    const { Date } = window
    window.Date = class extends Date {
      constructor (...rest) { rest.length > 0 ? super(...rest) : super(Date.now() + 86400000) }
    }
  }`)
  const weekday = new Intl.DateTimeFormat('en', { weekday: 'short' }).format(new Date())
  await until('it is the day after', async () =>
    (await times.allTextContents()).every(time => time === weekday)
  )
  t.equal(await times.count(), 2)
  await until('so is the day', async () => (await heading.innerText()) === 'Yesterday')
  t.match(await heading.getAttribute('title'), String(new Date().getFullYear()))
})

t.test('after a restart of the service the list is right again by itself', async t => {
  const person = await newPerson()
  const chat = await enterAs(t, person, person.here)
  await until('the list is there', async () => (await listed(chat)).includes(person.there))
  await service.restart('SIGKILL')
  await post(url, person.there, 'bob', 'meanwhile')
  await until('it is counted', async () => (await unreadIn(chat, person.there)) === '1', 30_000)
  t.equal(await streamsOf(), 1)
})

t.test('a row that has the keyboard focus keeps it while the list changes', async t => {
  const person = await newPerson()
  const chat = await enterAs(t, person, person.here)
  await until('the list is there', async () => (await listed(chat)).includes(person.there))
  await chat.page.focus('#rooms > li:first-child a')
  await post(url, person.there, 'bob', 'one')
  await until('it is counted', async () => (await unreadIn(chat, person.there)) === '1')
  t.equal(await chat.page.innerText(':focus .name'), person.here)
})

t.test('on a phone the button of the panel says that something is unread elsewhere', async t => {
  const person = await newPerson()
  const chat = await enterAs(t, person, person.here)
  await chat.page.setViewportSize({ width: 360, height: 740 })
  await until('the list is there', async () => (await listed(chat)).includes(person.there))
  t.notMatch(await chat.page.textContent('#panel-toggle'), /unread/)
  await post(url, person.there, 'bob', 'one')
  await chat.page.waitForSelector('#panel-toggle.unread')
  t.match(await chat.page.textContent('#panel-toggle'), /something is unread/)
})

t.test('without a SharedWorker the list is live while the tab is visible', async t => {
  const person = await newPerson()
  const chat = await ChatPage.visit(t, browser, url, '')
  await chat.page.addInitScript('delete window.SharedWorker')
  await chat.page.goto(`${url}/chat?chat_id=${person.here}`)
  await chat.page.fill('#user', person.user)
  await chat.page.press('#user', 'Tab')
  await until('the list is there', async () => (await listed(chat)).includes(person.there))
  const setHidden = (isHidden: boolean): Promise<unknown> =>
    chat.page.evaluate(`
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => ${isHidden} })
    document.dispatchEvent(new Event('visibilitychange'))`)
  await setHidden(true)
  await until('the stream is closed', async () => (await streamsOf()) === 0)
  await post(url, person.there, 'bob', 'one')
  await setHidden(false)
  await until('it is counted', async () => (await unreadIn(chat, person.there)) === '1')
})

t.test('what was read on another device is not shown as new here', async t => {
  const person = await newPerson()
  const { here, user } = person
  for (let n = 2; n <= 60; n++) await post(url, here, 'bob', `message ${n}`)
  await request(`${url}/rooms/${here}/users/${user}/read`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: '{"seq":40}'
  })
  const chat = await enterAs(t, person, here)
  await until('the list is there', async () => (await listed(chat)).includes(person.there))
  await chat.open()
  await chat.page.waitForSelector('#unread:visible')
  t.match(await chat.page.innerText('#unread'), /^20 new/)
  await chat.page.click('#unread')
  await chat.page.waitForSelector('#list > li[data-seq="41"] .unread-line')
})
