// How the page looks, and what a person can do with a message, in a real Chromium: layout, rows,
// links, places in the history, keyboard, and axe's findings.
import { randomUUID } from 'node:crypto'
import type { BrowserContextOptions } from 'playwright-core'
import t from 'tap'
import { axeFindings } from '../support/axe.js'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName, postStored } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const service = await startService(t, {
  redisNodes: (await startCluster(t)).urls,
  env: { ROOMS_PER_STREAM_MAX: '3' }
})
const browser = await openChromium(t)

const PHONE: BrowserContextOptions = { viewport: { width: 360, height: 740 } }
const WIDE: BrowserContextOptions = { viewport: { width: 1440, height: 900 } }

type Box = {
  left: number
  right: number
  top: number
  bottom: number
  width: number
  height: number
}

const boxOf = async (chat: ChatPage, selector: string): Promise<Box> =>
  chat.page.evaluate(
    `document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect().toJSON()`
  )

const post = (room: string, user: string, text: string): Promise<void> =>
  postStored(service.url, room, user, text)

async function fill(room: string, count: number): Promise<void> {
  for (let n = 1; n <= count; n++) await post(room, `user${n % 3}`, `message ${n}`)
}

/** A page that ann uses. */
async function asAnn(
  t: Parameters<typeof ChatPage.visit>[0],
  room: string,
  options = WIDE
): Promise<ChatPage> {
  const chat = await ChatPage.visit(t, browser, service.url, `?chat_id=${room}`, options)
  await chat.page.fill('#user', 'ann')
  await chat.page.press('#user', 'Tab')
  await chat.open()
  return chat
}

t.test("own messages are on the right, others' on the left with initials, in groups", async t => {
  const room = newName()
  for (const [user, text] of [
    ['lady_gaga', 'one'],
    ['lady_gaga', 'two'],
    ['ann', 'mine'],
    ['bob', 'his']
  ] as const) {
    await post(room, user, text)
  }
  const chat = await asAnn(t, room)
  await chat.shows('his')
  const main = await boxOf(chat, '#list')
  const boxes = await Promise.all(
    [1, 3].map(row => boxOf(chat, `#list > li:nth-child(${row}) .bubble`))
  )
  t.ok(Number(boxes[0]?.left) - main.left < 60, 'left')
  t.ok(main.right - Number(boxes[1]?.right) < 10, 'right')
  const rows = chat.page.locator('#list > li')
  t.same(await rows.locator('.avatar').allTextContents(), ['LG', 'LG', 'AN', 'BO'])
  t.same(
    await chat.page.evaluate(
      "[...document.querySelectorAll('#list > li')].map(row => row.classList.contains('heading'))"
    ),
    [true, false, true, true],
    'one heading for a run'
  )
  t.match(await rows.nth(0).locator('.at').innerText(), /^\d\d:\d\d$/)
  t.notOk(await rows.nth(1).locator('.at').isVisible(), 'the time is shown in headings only')
  const bottom = await boxOf(chat, '#list > li:last-child')
  t.ok(
    (await boxOf(chat, '#messages')).bottom - bottom.bottom < 60,
    'a few messages are at the bottom'
  )
})

t.test('links work, code stands out, and nothing is read as HTML', async t => {
  const room = newName()
  await post(
    room,
    'bob',
    'see https://example.org/a_(b)?c=1. And (http://x.test/y), not javascript://z'
  )
  await post(room, 'bob', 'run:\n```sh\nls <b> -l\nexit\n```\nor `pwd`')
  await post(
    room,
    'bob',
    '见https://example.org/文。“https://example.org/b”（https://example.org/c）'
  )
  const chat = await asAnn(t, room)
  await until('all are there', async () => (await chat.seqs()).length === 3)
  t.same(
    await chat.page.evaluate(
      "[...document.querySelectorAll('#list .text a')].map(a => [a.getAttribute('href'), a.rel, a.target])"
    ),
    [
      ['https://example.org/a_(b)?c=1', 'noopener noreferrer', '_blank'],
      ['http://x.test/y', 'noopener noreferrer', '_blank'],
      ['https://example.org/文', 'noopener noreferrer', '_blank'],
      ['https://example.org/b', 'noopener noreferrer', '_blank'],
      ['https://example.org/c', 'noopener noreferrer', '_blank']
    ]
  )
  t.same(await chat.page.locator('#list code').allTextContents(), ['ls <b> -l\nexit', 'pwd'])
  t.same(await chat.page.locator('#list code.block').allTextContents(), ['ls <b> -l\nexit'])
  t.equal(await chat.page.locator('#list b').count(), 0)
})

t.test('a message or its link is copied clean, by mouse and by keyboard alone', async t => {
  const room = newName()
  await post(room, 'bob', 'first\nline')
  await post(room, 'bob', 'second')
  const chat = await asAnn(t, room)
  await chat.page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  const clipboard = (): Promise<string> => chat.page.evaluate('navigator.clipboard.readText()')
  await chat.page.hover('#list > li:nth-child(1) .bubble')
  await chat.page.click('#actions .copy')
  await until('it is copied', async () => (await clipboard()) === 'first\nline')
  t.match(await chat.page.innerText('#list > li:nth-child(1) .meta'), /\d\d:\d\d:\d\d\s+#1/)
  t.notOk(await chat.page.isVisible('#actions .edit'), "another's message cannot be edited")

  await chat.page.focus('#list > li:last-child')
  await chat.page.keyboard.press('ArrowUp')
  await chat.page.keyboard.press('ArrowDown')
  await chat.page.keyboard.press('Tab')
  await chat.page.keyboard.press('Tab')
  await chat.page.keyboard.press('Enter')
  const link = `${service.url}/chat?chat_id=${room}&seq=2`
  await until('the link is copied', async () => (await clipboard()) === link)

  await chat.page.evaluate(`(() => {
    const range = document.createRange()
    range.selectNodeContents(document.querySelector('#list'))
    getSelection().removeAllRanges()
    getSelection().addRange(range)
  })()`)
  await chat.page.keyboard.press('Control+c')
  const copied = (await clipboard()).split('\n').filter(line => line !== '')
  t.same(copied, ['bob', 'first', 'line', 'second'], 'selected text is clean')
})

t.test('a long press shows what can be done with a message', async t => {
  const room = newName()
  await post(room, 'bob', 'press me')
  const chat = await asAnn(t, room, { ...PHONE, hasTouch: true, isMobile: true })
  await chat.shows('press me')
  const { left, top, width, height } = await boxOf(chat, '#list .bubble')
  const touch = await chat.page.context().newCDPSession(chat.page)
  const touchPoints = [{ x: left + width / 2, y: top + height / 2 }]
  t.notOk(await chat.page.isVisible('#actions'))
  await touch.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints })
  await chat.page.waitForSelector('#actions:visible')
  await touch.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] })
  await chat.page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  await chat.page.tap('#actions .copy')
  await until('it is copied', () =>
    chat.page.evaluate("navigator.clipboard.readText().then(text => text === 'press me')")
  )
})

t.test('while text is selected nothing moves; afterwards the list follows again', async t => {
  const room = newName()
  await fill(room, 60)
  const chat = await asAnn(t, room)
  await until('the newest is in sight', () => chat.isAtEnd())
  await chat.page.evaluate(
    "getSelection().selectAllChildren(document.querySelector('#list > li:last-child .text'))"
  )
  const top = await chat.topOf(60)
  await post(room, 'bob', 'meanwhile')
  await chat.shows('meanwhile')
  t.equal(await chat.topOf(60), top)
  await chat.page.evaluate('getSelection().removeAllRanges()')
  await until('it follows', () => chat.isAtEnd())
})

t.test(
  '&seq= opens at that message and highlights it, and the end can be reached from there',
  async t => {
    const room = newName()
    await fill(room, 300)
    const chat = await ChatPage.visit(t, browser, service.url, `?chat_id=${room}&seq=60`, WIDE)
    await chat.becomes('live')
    await chat.page.waitForSelector('#list > li[data-seq="60"].found')
    const top = await chat.topOf(60)
    t.ok(top > 0 && top < 600, `it is in sight, at ${top} px`)
    await chat.page.click('#newest')
    await until(
      'the newest is in sight',
      async () => (await chat.seqs()).at(-1) === 300 && (await chat.isAtEnd())
    )
    t.equal(await chat.page.locator('[data-missing]').count(), 0)
    t.equal(await chat.notice(), '')
  }
)

t.test('a link to a message that is not there says so, and shows the newest', async t => {
  const room = newName()
  await fill(room, 3)
  for (const [seq, notice] of [
    [3, ''],
    [4, 'There is no message #4 in this room.']
  ] as const) {
    const chat = await ChatPage.visit(t, browser, service.url, `?chat_id=${room}&seq=${seq}`, WIDE)
    await chat.becomes('live')
    if (notice === '') await chat.page.waitForSelector('#list > li[data-seq="3"].found')
    await until('it is said', async () => (await chat.notice()) === notice)
    await chat.shows('message 3')
    t.ok(await chat.isAtEnd())
  }
})

t.test(
  'new messages since the last visit have a line above them, and a button leads there',
  async t => {
    const room = newName()
    const mark = `dialogs.read-by.["ann","${room}"]`
    await fill(room, 5)
    const chat = await asAnn(t, room)
    await chat.shows('message 5')
    await until('the mark is kept', () =>
      chat.page.evaluate(`localStorage.getItem('${mark}')?.startsWith('5 ')`)
    )
    await chat.close()
    for (let n = 6; n <= 45; n++) await post(room, 'bob', `message ${n}`)
    await chat.page.reload()
    await chat.open()
    await chat.page.waitForSelector('#unread:visible')
    t.match(await chat.page.innerText('#unread'), /^40 new since \d\d:\d\d/)
    await chat.page.click('#unread')
    await chat.page.waitForSelector('#unread', { state: 'hidden' })
    t.equal(await chat.page.innerText('#list > li[data-seq="6"] .unread-line'), 'New')
    t.ok((await chat.topOf(6)) >= 0)

    // Somebody else at the same browser has read nothing here.
    await chat.page.fill('#user', 'zoe')
    await chat.page.press('#user', 'Tab')
    await chat.page.waitForSelector('#list .unread-line', { state: 'detached' })
    t.match(await chat.page.evaluate(`localStorage.getItem('${mark}')`), /^45 /, "ann's mark")
    await chat.page.fill('#user', 'ann')
    await chat.page.press('#user', 'Tab')

    // A time without a day would be taken for one of today.
    const before = new Date(Date.now() - 3 * 86_400_000)
    const context = chat.page.context()
    await context.addInitScript(`localStorage.setItem('${mark}', '5 ${before.toISOString()}')`)
    const later = await ChatPage.visitIn(t, context, service.url, `?chat_id=${room}`)
    await later.open()
    await later.page.waitForSelector('#unread:visible')
    const weekday = new Intl.DateTimeFormat('en', { weekday: 'short' }).format(before)
    t.match(await later.page.innerText('#unread'), `40 new since ${weekday}`)
  }
)

t.test('on paper are all loaded messages, whole, and nothing to press', async t => {
  const room = newName()
  await post(room, 'bob', Array.from({ length: 30 }, (_, n) => `line ${n}`).join('\n'))
  for (let n = 2; n <= 60; n++) await post(room, `user${n % 3}`, `message ${n}`)
  const chat = await asAnn(t, room)
  await until('the newest is in sight', () => chat.isAtEnd())
  const pages = String(await chat.page.pdf({ format: 'A4' })).match(/\/Type\s*\/Page\b/g)
  t.ok(Number(pages?.length) >= 3, `${pages?.length} pages`)
  t.ok(await chat.isAtEnd(), 'the page is as before')

  await chat.page.emulateMedia({ media: 'print' })
  for (const each of ['#panel', '#composer', '.tools', '#state', '#list .fold', '#newest']) {
    t.notOk(await chat.page.locator(each).first().isVisible(), each)
  }
  t.ok(await chat.page.isVisible('#room-name'))
  const [first, last] = [
    await boxOf(chat, '#list > li:first-child .text'),
    await boxOf(chat, '#list > li:last-child')
  ]
  t.ok(first.height >= 30 * 24, `30 lines are ${first.height} px high`)
  t.ok(
    last.bottom <= (await chat.page.evaluate<number>('document.body.scrollHeight')),
    'the last is on the page'
  )
})

t.test('on a phone there is one header of 48 px, and rooms and people behind a button', async t => {
  const room = newName()
  await fill(room, 40)
  const chat = await asAnn(t, room, PHONE)
  await until('the newest is in sight', () => chat.isAtEnd())
  t.equal((await boxOf(chat, 'header')).height, 48)
  t.ok((await boxOf(chat, '#user')).width < 200, 'the name is a chip')
  t.notOk(await chat.page.isVisible('#people'))
  await chat.page.click('#panel-toggle')
  t.match(await chat.page.innerText('#people'), /user1/)
  await chat.page.keyboard.press('Escape')
  t.notOk(await chat.page.isVisible('#people'))
  t.equal(await chat.page.evaluate('document.activeElement.id'), 'panel-toggle')
  // The size with the keyboard open, or of a window of 1280 × 1024 at 400 % zoom.
  await chat.page.setViewportSize({ width: 320, height: 256 })
  await chat.page.focus('#text')
  await until('the text is in sight', async () => (await boxOf(chat, '#text')).bottom <= 257)
  t.equal(
    await chat.page.evaluate('document.documentElement.scrollWidth'),
    320,
    'nothing is cut off'
  )
})

t.test(
  'a reload leaves the room open, and a tab in the background shows unread messages',
  async t => {
    const room = newName()
    const chat = await asAnn(t, room)
    await chat.page.reload()
    await chat.becomes('live')
    await chat.page.evaluate(`
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })
    document.dispatchEvent(new Event('visibilitychange'))`)
    await post(room, 'bob', 'hello')
    // The number includes unread messages in the other rooms of this file.
    const title = new RegExp(`^\\(\\d+\\) ${room} · Dialogs$`)
    await until('the title says so', async () => title.test(await chat.page.title()))
    t.match(await chat.page.getAttribute('link[rel="icon"]', 'href'), /icon-unread\.svg$/)
  }
)

t.test('the page says that it is offline, and the seconds until the next attempt', async t => {
  const chat = await asAnn(t, newName())
  await chat.page.evaluate(
    "Object.defineProperty(navigator, 'onLine', { configurable: true, get: () => false })"
  )
  await service.stop()
  await until('it is said', async () => (await chat.page.innerText('#state')) === 'Offline')
  await chat.page.evaluate("delete navigator.onLine; dispatchEvent(new Event('offline'))")
  await until('the seconds are said', async () =>
    /^Reconnecting (?:in \d+ s|…)|^Reconnecting…/.test(await chat.page.innerText('#state'))
  )
  await service.restart()
  await chat.page.waitForSelector('#state[data-state="live"]', { timeout: 30_000 })
})

t.test('tabs on more rooms than a stream may have share several streams', async t => {
  const rooms = Array.from({ length: 5 }, () => newName())
  const first = await ChatPage.visit(t, browser, service.url, `?chat_id=${rooms[0]}`)
  const tabs = [first]
  for (const room of rooms.slice(1)) {
    tabs.push(await ChatPage.visitIn(t, first.page.context(), service.url, `?chat_id=${room}`))
  }
  for (const tab of tabs) await tab.open()
  for (const room of rooms) await post(room, 'bob', `for ${room}`)
  for (const [index, tab] of tabs.entries()) {
    await tab.shows(`for ${rooms[index]}`)
    t.same(await tab.seqs(), [1])
  }
})

t.test('typing is shown to others, until the message comes', async t => {
  const room = newName()
  const ann = await asAnn(t, room)
  const bob = await ChatPage.visit(t, browser, service.url, `?chat_id=${room}`, PHONE)
  await bob.page.fill('#user', 'bob')
  await bob.open()
  await bob.page.locator('#text').pressSequentially('hm')
  await until('it is shown', async () => (await ann.page.innerText('#typing')) === 'bob is typing…')
  t.equal(await bob.page.innerText('#typing'), '', 'not to oneself')
  await bob.page.press('#text', 'Enter')
  await ann.shows('hm')
  await until('it is over', async () => (await ann.page.innerText('#typing')) === '')
})

t.test("the person's dialogs are listed with the unread messages of each", async t => {
  const [here, there] = [newName(), newName()]
  const ann = `ann-${randomUUID().slice(0, 8)}`
  await post(there, ann, 'hello')
  await post(there, 'bob', 'one')
  await post(there, 'bob', 'two')
  const chat = await ChatPage.visit(t, browser, service.url, `?chat_id=${here}`, WIDE)
  await chat.page.fill('#user', ann)
  await chat.page.press('#user', 'Tab')
  const row = chat.page.locator('#rooms > li', { hasText: there })
  await until('it is counted', async () => (await row.locator('.badge').innerText()) === '2')
  await row.locator('a').click()
  await chat.becomes('live')
  await chat.shows('two')
  await until('it is marked as read', async () => {
    const response = await fetch(`${service.url}/users/${ann}/rooms`)
    // DialogsAnswer in src/routes/schemas.ts.
    const { rooms } = (await response.json()) as { rooms: Array<{ room: string; unread: number }> }
    return rooms.find(({ room }) => room === there)?.unread === 0
  })
})

t.test('People lists everybody, page by page', async t => {
  const room = newName()
  const users = Array.from({ length: 230 }, (_, n) => `user${n}`)
  for (let n = 0; n < users.length; n += 23) {
    await Promise.all(users.slice(n, n + 23).map(user => post(room, user, 'hi')))
  }
  const chat = await asAnn(t, room)
  await until(
    'the first page is there',
    async () => (await chat.page.locator('#people > li').count()) === 200
  )
  t.equal(await chat.page.innerText('summary .people-count'), '230')
  await chat.page.click('#people-more')
  await until(
    'all are there',
    async () => (await chat.page.locator('#people > li').count()) === 230
  )
  t.notOk(await chat.page.isVisible('#people-more'))
})

for (const [name, options] of [
  ['wide', WIDE],
  ['on a phone', PHONE],
  ['dark', { ...WIDE, colorScheme: 'dark' }],
  ['on a phone, dark', { ...PHONE, colorScheme: 'dark' }]
] as ReadonlyArray<[string, BrowserContextOptions]>) {
  t.test(`axe finds nothing ${name}`, async t => {
    const room = newName()
    await post(room, 'bob', 'see https://example.org and `code`')
    await post(room, 'ann', 'mine')
    const chat = await asAnn(t, room, options)
    await chat.shows('mine')
    await chat.page.fill('#user', '{ann}')
    await chat.page.fill('#text', 'refused')
    await chat.page.press('#text', 'Enter')
    await chat.page.waitForSelector('#pending [data-state="failed"]')
    t.same(await axeFindings(chat.page), [])
  })
}
