// Who scrolls: the person by wheel, keys, touch or scrollbar, or the page by a jump. In a real
// Chromium, which moves smoothly after a wheel or a key, also while the page has work to do.
import t, { type Test } from 'tap'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName, post, postMany, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const { url } = await startService(t, { redisNodes: (await startCluster(t)).urls })
const browser = await openChromium(t)

const COUNT = 400
const room = newName()
await postMany(url, room, 'ann', COUNT)

const SCROLLER = "document.querySelector('#messages')"

/** Opens a room at its newest message. */
async function atEnd(t: Test, name = room, from = browser): Promise<ChatPage> {
  const chat = await ChatPage.visit(t, from, url, `?chat_id=${name}`, {
    viewport: { width: 1280, height: 800 },
    hasTouch: true
  })
  await chat.open()
  await until('the newest is in sight', async () => (await chat.seqs()).length >= 100)
  await until('at the end', () => chat.isAtEnd())
  return chat
}

/** Resolves when nothing has moved for half a second of frames. */
const atRest = (chat: ChatPage): Promise<unknown> =>
  chat.page.evaluate(`new Promise(resolve => {
    let top = -1
    let still = 0
    const look = () => {
      const { scrollTop } = ${SCROLLER}
      still = scrollTop === top ? still + 1 : 0
      top = scrollTop
      if (still === 30) resolve()
      else requestAnimationFrame(look)
    }
    look()
  })`)

const byKey =
  (key: string) =>
  async (chat: ChatPage): Promise<void> => {
    await chat.page.focus('#messages')
    await chat.page.keyboard.press(key)
  }

async function byWheel(chat: ChatPage, px = -600): Promise<void> {
  await chat.page.hover('#messages')
  await chat.page.mouse.wheel(0, px)
}

/** A finger that moves down by so many pixels with each event, and then rests before it leaves. */
async function drag(chat: ChatPage, steps: number, px: number): Promise<void> {
  const session = await chat.page.context().newCDPSession(chat.page)
  const to = (y: number): { x: number; y: number }[] => [{ x: 800, y }]
  await session.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: to(200) })
  for (let n = 1; n <= steps; n++) {
    await session.send('Input.dispatchTouchEvent', {
      type: 'touchMove',
      touchPoints: to(200 + n * px)
    })
    await chat.page.evaluate('new Promise(requestAnimationFrame)')
  }
  await session.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] })
}

const byTouch = (chat: ChatPage): Promise<void> => drag(chat, 15, 20)

for (const [what, scroll] of [
  ['the wheel', byWheel],
  ['a key', byKey('PageUp')],
  ['touch', byTouch]
] as const) {
  t.test(`${what} ends following, and leads back to it`, async t => {
    const name = newName()
    await postMany(url, name, 'ann', 120)
    const chat = await atEnd(t, name)
    await scroll(chat)
    await chat.page.waitForSelector('#newest:visible')
    await atRest(chat)
    const top = await chat.page.evaluate(`${SCROLLER}.scrollTop`)
    await post(url, name, 'bob', 'one more')
    await chat.shows('one more')
    t.equal(await chat.page.evaluate(`${SCROLLER}.scrollTop`), top, 'nothing moves')
    t.match(await chat.page.innerText('#newest'), '1 new message')
    await byWheel(chat, 5000)
    await until('the list follows again', async () => !(await chat.page.isVisible('#newest')))
    await post(url, name, 'bob', 'another')
    await chat.shows('another')
    await until('at the end', () => chat.isAtEnd())
  })
}

for (const [what, scroll] of [
  ['finger', (chat: ChatPage) => drag(chat, 30, 8)],
  [
    'wheel',
    async (chat: ChatPage) => {
      for (let n = 0; n < 15; n++) {
        await byWheel(chat, -15)
        await chat.page.evaluate('new Promise(requestAnimationFrame)')
      }
    }
  ]
] as const) {
  t.test(`a slow ${what} leaves the end of a busy room`, async t => {
    const name = newName()
    await postMany(url, name, 'ann', 120)
    const chat = await atEnd(t, name)
    const end = new AbortController()
    t.teardown(() => {
      end.abort()
    })
    const writing = Array.from({ length: 4 }, async () => {
      while (!end.signal.aborted) await post(url, name, 'bob', 'one more')
    })
    await scroll(chat)
    await chat.page.waitForSelector('#newest:visible')
    end.abort()
    await Promise.all(writing)
    await atRest(chat)
    t.notOk(await chat.isAtEnd())
  })
}

/** Drags the scrollbar's handle to one end of the list, and lets go of it. */
async function dragHandle(chat: ChatPage, end: 'top' | 'bottom'): Promise<void> {
  const [x, y, goal] = await chat.page.evaluate<[number, number, number]>(`(() => {
    const { scrollTop, scrollHeight, clientWidth, clientHeight, offsetWidth } = ${SCROLLER}
    const { top, right, bottom } = ${SCROLLER}.getBoundingClientRect()
    const height = (clientHeight * clientHeight) / scrollHeight
    const share = scrollTop / (scrollHeight - clientHeight)
    return [
      right - (offsetWidth - clientWidth) / 2,
      top + (clientHeight - height) * share + height / 2,
      ${end}
    ]
  })()`)
  await chat.page.mouse.move(x, y)
  await chat.page.mouse.down()
  for (let n = 1; n <= 20; n++) {
    await chat.page.mouse.move(x, y + ((goal - y) * n) / 20)
    await chat.page.evaluate('new Promise(requestAnimationFrame)')
  }
  await chat.page.mouse.up()
}

t.test('the scrollbar ends following, loads what is before, and leads back', async t => {
  const name = newName()
  await postMany(url, name, 'ann', 250)
  const chat = await atEnd(t, name, await openChromium(t, { hasScrollbars: true }))
  t.not((await chat.seqs())[0], 1)
  await dragHandle(chat, 'top')
  await chat.page.waitForSelector('#newest:visible')
  await until('all of it has loaded', async () => (await chat.seqs())[0] === 1)
  t.same(await chat.seqs(), sequence(1, 250), 'without a hole')
  await atRest(chat)
  const top = await chat.page.evaluate(`${SCROLLER}.scrollTop`)
  await post(url, name, 'bob', 'one more')
  await chat.shows('one more')
  t.equal(await chat.page.evaluate(`${SCROLLER}.scrollTop`), top, 'nothing moves')

  await dragHandle(chat, 'bottom')
  await until('the list follows again', async () => !(await chat.page.isVisible('#newest')))
  await post(url, name, 'bob', 'another')
  await chat.shows('another')
  await until('at the end', () => chat.isAtEnd())
})

/**
 * Scrolls as a person does, and does something else while the list is still moving. Resolves when
 * the list has come to rest.
 */
async function whileMoving(
  chat: ChatPage,
  scroll: (chat: ChatPage) => Promise<void>,
  act: string
): Promise<void> {
  await chat.page.evaluate(`void (window.hasActed = new Promise(resolve => {
    ${SCROLLER}.addEventListener('scroll', () => {
      ${act}
      resolve()
    }, { once: true })
  }))`)
  await scroll(chat)
  await chat.page.evaluate('window.hasActed')
  await atRest(chat)
}

for (const [what, scroll] of [
  ['a key', byKey('PageUp')],
  ['the key to the beginning', byKey('Home')],
  ['the wheel', byWheel]
] as const) {
  t.test(`a jump leads to its goal although the list still moves after ${what}`, async t => {
    const chat = await atEnd(t)
    await whileMoving(chat, scroll, "document.querySelector('#newest').click()")
    t.ok(await chat.isAtEnd(), 'the newest message')
    t.notOk(await chat.page.isVisible('#newest'))

    await chat.page.addInitScript(`localStorage.setItem('dialogs.read.${room}', '350 ')`)
    await chat.page.reload()
    await chat.page.waitForSelector('#unread:visible')
    await until('at the end', () => chat.isAtEnd())
    await whileMoving(chat, scroll, "document.querySelector('#unread').click()")
    await chat.page.waitForSelector('#list > li[data-seq="351"].found')
    const [top, height] = [
      await chat.topOf(351),
      await chat.page.evaluate<number>(`${SCROLLER}.clientHeight`)
    ]
    t.ok(Math.abs(top - height / 4) < 3, `the first unread message, at ${top} of ${height} px`)
  })
}
