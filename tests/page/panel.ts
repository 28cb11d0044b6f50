// The column beside the messages: the room, the person's dialogs, people, and writing. In a real
// Chromium; page/look has the same on a phone, page/dialogs what the list of dialogs says.
import t from 'tap'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { freshRoom, post } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const { url } = await startService(t, { redisNodes: (await startCluster(t)).urls })
const browser = await openChromium(t)

const WIDE = { viewport: { width: 1440, height: 900 } }

type Box = { left: number; right: number; top: number; bottom: number }

const boxOf = (chat: ChatPage, selector: string): Promise<Box> =>
  chat.page.evaluate(`document.querySelector('${selector}').getBoundingClientRect().toJSON()`)

t.test('on a wide window everything but the messages is in one column on the left', async t => {
  const room = freshRoom()
  for (let n = 1; n <= 60; n++) await post(url, room, 'bob', `message ${n}`)
  const chat = await ChatPage.visit(t, browser, url, `?chat_id=${room}`, WIDE)
  await chat.page.fill('#user', 'ann')
  await chat.open()
  await chat.shows('message 60')
  await until('the newest is in sight', () => chat.isAtEnd())
  const { left } = await boxOf(chat, '#messages')
  let above = -1
  for (const each of '#room-name #state #open #rooms #people #user #text #send'.split(' ')) {
    const box = await boxOf(chat, each)
    t.ok(box.left >= 0 && box.right <= left, `${each} is beside the messages`)
    t.ok(box.top > above, `${each} is below what precedes it`)
    above = box.top
  }
  for (const each of ['#share', '#close']) t.ok((await boxOf(chat, each)).right <= left, each)
  t.equal((await boxOf(chat, '#send')).right, (await boxOf(chat, '#text')).right)
  const [send, newest] = [await boxOf(chat, '#send'), await boxOf(chat, '#list > li:last-child')]
  t.ok(
    Math.abs(send.bottom - newest.bottom) < 30,
    `Send ends at ${send.bottom} px, the newest message at ${newest.bottom} px`
  )
  for (const [width, height] of [
    [1440, 900],
    [768, 1024],
    [360, 740]
  ] as const) {
    await chat.page.setViewportSize({ width, height })
    t.same(
      await chat.page.evaluate(
        '[document.documentElement.scrollWidth, document.documentElement.scrollHeight]'
      ),
      [width, height],
      `all of it fits into a window of ${width} × ${height}`
    )
  }
})

// The size of a laptop's window, of a phone, and of a phone that lies on its side.
for (const [what, viewport, isPhone, isOne] of [
  ['beside the messages', { width: 1440, height: 900 }, false, false],
  ['on a phone', { width: 360, height: 740 }, true, false],
  ['in a low window, after the dialogs', { width: 740, height: 360 }, true, true]
] as const) {
  t.test(`with many dialogs, People is in sight ${what}`, async t => {
    const [room, ann] = [freshRoom(), freshRoom()]
    for (let n = 1; n <= 40; n++) await post(url, `${room} ${n}`, ann, 'hello')
    for (let n = 1; n <= 20; n++) await post(url, room, `user${n}`, 'hello')
    const chat = await ChatPage.visit(t, browser, url, `?chat_id=${room}`, { viewport })
    await chat.page.fill('#user', ann)
    await chat.page.press('#user', 'Tab')
    if (isPhone) await chat.page.click('#panel-toggle')
    await until('all are listed', async () => {
      return (
        (await chat.page.locator('#rooms > li').count()) === 41 &&
        (await chat.page.locator('#people > li').count()) === 20
      )
    })
    /** Whether a row is inside what scrolls it, and inside the window. */
    const isSeen = (selector: string): Promise<boolean> =>
      chat.page.evaluate(`(() => {
        const { left, width, top, height } = document.querySelector('${selector}').getBoundingClientRect()
        const hit = document.elementFromPoint(left + width / 2, top + height / 2)
        return hit !== null && hit.closest('li, summary, h2') === document.querySelector('${selector}')
      })()`)
    t.ok(await isSeen('#rooms > li:nth-child(2)'), 'a dialog')
    t.equal(await isSeen('#people-title'), !isOne, 'the heading of People')
    t.equal(await isSeen('#people > li:nth-child(2)'), !isOne, 'a person')
    for (const last of ['#rooms > li:last-child', '#people > li:last-child']) {
      await chat.page.locator(last).scrollIntoViewIfNeeded()
      t.ok(await isSeen(last), `${last} can be reached`)
    }
    if (isOne) return
    t.ok(await isSeen('#people-title'), 'the heading stays above the people')

    // Folded, People leaves the dialogs its height.
    const heightOf = async (): Promise<number> => {
      const { top, bottom } = await boxOf(chat, '#panel > nav')
      return bottom - top
    }
    const before = await heightOf()
    await chat.page.click('#people-title')
    await chat.page.waitForSelector('#people', { state: 'hidden' })
    t.ok((await heightOf()) > before * 1.3, `${before} px became ${await heightOf()} px`)
  })
}

t.test('a click on a dialog opens it, and the list shows where one is', async t => {
  const [room, ann] = [freshRoom(), freshRoom()]
  for (let n = 1; n <= 40; n++) await post(url, `${room} ${n}`, ann, `hello ${n}`)
  const chat = await ChatPage.visit(t, browser, url, `?chat_id=${room}`, WIDE)
  await chat.page.fill('#user', ann)
  await chat.page.press('#user', 'Tab')
  /** How much of the current room's row is inside the list, in px. */
  const seen = (): Promise<number> =>
    chat.page.evaluate(`(() => {
      const row = document.querySelector('#rooms [aria-current]')?.getBoundingClientRect()
      const list = document.querySelector('#panel > nav').getBoundingClientRect()
      const heading = document.querySelector('#panel h2').getBoundingClientRect()
      return row ? Math.min(row.bottom, list.bottom) - Math.max(row.top, heading.bottom) : 0
    })()`)
  for (const n of [2, 20, 39]) {
    await chat.page.click(`#rooms a:has(.name:text-is("${room} ${n}"))`)
    await chat.page.waitForURL(`**/chat?chat_id=${room}+${n}`)
    await chat.becomes('live')
    await chat.shows(`hello ${n}`)
    await until('its row is in sight', async () => (await seen()) > 40)
  }
  await chat.page.setViewportSize({ width: 360, height: 740 })
  await chat.page.reload()
  await chat.becomes('live')
  await until('all are listed', async () => (await chat.page.locator('#rooms > li').count()) >= 40)
  await chat.page.click('#panel-toggle')
  t.ok((await seen()) > 40, `on a phone ${await seen()} px of it`)
})

t.test('People folds, and says how many they are all the same', async t => {
  const room = freshRoom()
  for (const user of ['ann', 'bob', 'bob']) await post(url, room, user, 'hello')
  const chat = await ChatPage.visit(t, browser, url, `?chat_id=${room}`, WIDE)
  await chat.page.waitForSelector('#people > li')
  t.same(await chat.page.locator('#people .user').allTextContents(), ['bob', 'ann'])
  t.same(await chat.page.locator('#people .messages').allTextContents(), ['2', '1'])
  await chat.page.click('#people-title')
  await chat.page.waitForSelector('#people', { state: 'hidden' })
  t.equal(await chat.page.innerText('#people-title .people-count'), '2')
  await chat.page.click('#people-title')
  await chat.page.waitForSelector('#people:visible')
})

t.test('Share copies a link that leads here', async t => {
  const room = `${freshRoom()} & others`
  const chat = await ChatPage.visit(
    t,
    browser,
    url,
    `?chat_id=${encodeURIComponent(room)}&seq=1`,
    WIDE
  )
  await chat.page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  await chat.page.click('#share')
  await until('it is said', async () => (await chat.notice()).includes('is copied'))
  await chat.page.goto(await chat.page.evaluate('navigator.clipboard.readText()'))
  t.equal(await chat.page.innerText('#room-name'), room)
})

t.test('without a name the rooms visited are listed, the latest first', async t => {
  const [first, second, third] = [freshRoom(), freshRoom(), freshRoom()]
  const chat = await ChatPage.visit(t, browser, url, `?chat_id=${first}`, WIDE)
  for (const room of [second, third, first]) await chat.page.goto(`${url}/chat?chat_id=${room}`)
  const listed = (): Promise<string[]> => chat.page.locator('#rooms .name').allTextContents()
  await until('three', async () => (await listed()).length === 3)
  t.same(await listed(), [first, third, second])
  t.equal(await chat.page.innerText('#rooms a[aria-current="page"] .name'), first)

  // With a name, its dialogs are above them.
  const [user, dialog] = [freshRoom(), freshRoom()]
  await post(url, dialog, user, 'hello')
  await chat.page.fill('#user', user)
  await chat.page.press('#user', 'Tab')
  await until('the dialog is there', async () => (await listed()).length === 4)
  t.same(await listed(), [dialog, first, third, second])
  await chat.page.click(`#rooms a:has-text("${third}")`)
  await until('a row leads to its room', async () => {
    return (await chat.page.innerText('#room-name')) === third
  })
})
