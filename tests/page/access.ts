// The page and the picture for people who use a keyboard alone, a screen reader, forced colours, or
// no motion. In a real Chromium; axe's own findings are in page/look.
import t from 'tap'
import { axeFindings } from '../support/axe.js'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { freshRoom, post, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const { url } = await startService(t, {
  redisNodes: (await startCluster(t)).urls,
  env: { BLOCK_LENGTH: '5' }
})
const browser = await openChromium(t)

const focused = (chat: ChatPage): Promise<string> =>
  chat.page.evaluate(`(() => {
    const { id, className, localName } = document.activeElement
    return id || className || localName
  })()`)

/** Presses Tab until this has the focus; each stop on the way must be visible, with an outline. */
async function tabTo(chat: ChatPage, wanted: string): Promise<void> {
  const passed: string[] = []
  for (let n = 0; n < 30; n++) {
    await chat.page.keyboard.press('Tab')
    const isSeen = await chat.page.evaluate(`(() => {
      const { activeElement } = document
      const { width, height } = activeElement.getBoundingClientRect()
      return activeElement === document.body || (width > 1 && height > 1 && getComputedStyle(activeElement).outlineStyle !== 'none')
    })()`)
    const stop = await focused(chat)
    if (isSeen !== true) throw new Error(`${stop} has the focus, and nobody sees it`)
    if (stop === wanted) return
    passed.push(stop)
  }
  throw new Error(`Tab never leads to ${wanted}, only to ${passed.join(', ')}`)
}

t.test('everything can be done by the keyboard alone', async t => {
  const room = freshRoom()
  for (let n = 1; n <= 60; n++) await post(url, room, 'bob', `message ${n}`)
  const chat = await ChatPage.visit(t, browser, url, '')
  const { keyboard } = chat.page
  await chat.page.waitForSelector('#chat-id:focus')
  await keyboard.type(room)
  await keyboard.press('Enter')
  await chat.page.waitForSelector('#room-name:visible')

  await tabTo(chat, 'open')
  await keyboard.press('Space')
  await chat.becomes('live')
  t.equal(await focused(chat), 'open', 'the button keeps the focus')
  for (const stop of ['messages', 'user']) await tabTo(chat, stop)
  await keyboard.type('ann')
  await keyboard.press('Tab')
  t.equal(await focused(chat), 'text')
  await keyboard.type('by keyboard')
  await keyboard.press('Enter')
  await chat.shows('by keyboard')

  // Up through the messages, from the newest; then to what can be done with one.
  await keyboard.press('Shift+Tab')
  await keyboard.press('Shift+Tab')
  t.match(
    await chat.page.evaluate('document.activeElement.textContent'),
    /by keyboard/,
    'the newest message'
  )
  await tabTo(chat, 'copy')
  for (const stop of ['link', 'edit', 'delete']) await tabTo(chat, stop)
  for (let n = 0; n < 3; n++) await keyboard.press('Shift+Tab')
  await keyboard.press('Tab')
  await keyboard.press('Tab')
  t.equal(await focused(chat), 'edit')
  await keyboard.press('Enter')
  await chat.page.waitForSelector('#composer.editing #text:focus')
  await keyboard.type(', edited')
  await keyboard.press('Enter')
  await chat.shows('by keyboard, edited')

  // Back through the list, to the top and to the newest.
  await chat.page.focus('#messages')
  await keyboard.press('Home')
  await chat.page.waitForSelector('#newest:visible')
  await tabTo(chat, 'newest')
  await keyboard.press('Enter')
  await until('the newest is in sight', () => chat.isAtEnd())
  t.equal(await focused(chat), 'messages', 'the focus is where the reader is')

  for (let n = 0; n < 12 && (await focused(chat)) !== 'close'; n++) {
    await keyboard.press('Shift+Tab')
  }
  await keyboard.press('Enter')
  await chat.becomes('closed')
})

t.test('on a phone, rooms and people are reached and left by keyboard', async t => {
  const room = freshRoom()
  await post(url, room, 'bob', 'hello')
  const chat = await ChatPage.visit(t, browser, url, `?chat_id=${room}`, {
    viewport: { width: 360, height: 740 }
  })
  await tabTo(chat, 'panel-toggle')
  await chat.page.keyboard.press('Enter')
  await chat.page.waitForSelector('#people:visible')
  await chat.page.keyboard.press('Escape')
  t.equal(await focused(chat), 'panel-toggle')

  // With text of twice the size the header has more than one line.
  await chat.open()
  await chat.page.evaluate("document.documentElement.style.fontSize = '200%'")
  for (const part of ['#room-name', '#state', '#panel-toggle', '#close', '#share', '#send']) {
    await until(`${part} is whole`, () =>
      chat.page.evaluate(`(() => {
        const { left, right, width } = document.querySelector('${part}').getBoundingClientRect()
        return left >= 0 && right <= innerWidth && width >= 40
      })()`)
    )
  }
  await chat.page.click('#panel-toggle')
  await chat.page.click('#panel-toggle')
  await chat.page.waitForSelector('#people', { state: 'hidden' })
})

t.test('a screen reader hears each message, and in a busy room a summary', async t => {
  const room = freshRoom()
  await post(url, room, 'bob', 'history')
  const chat = await ChatPage.enter(t, browser, url, room)
  await chat.open()
  const live = (): Promise<string | null> => chat.page.getAttribute('#messages', 'aria-live')
  await until('messages are announced', async () => (await live()) === 'polite')
  for (let n = 1; n <= 20; n++) await post(url, room, 'bob', `quick ${n}`)
  await chat.shows('quick 20')
  t.equal(await live(), 'off', 'nobody can listen to twenty messages a second')
  await until('their number is', async () =>
    /^\d+ new messages$/.test((await chat.page.textContent('#summary')) ?? '')
  )
})

for (const forcedColors of ['active', 'none'] as const) {
  t.test(`without motion, with forced colours ${forcedColors}, nothing moves`, async t => {
    const mark = forcedColors === 'active' ? 'outlineStyle' : 'boxShadow'
    const room = freshRoom()
    for (const user of ['ann', 'bob']) await post(url, room, user, 'hello')
    const chat = await ChatPage.visit(t, browser, url, `?chat_id=${room}&seq=1`, {
      reducedMotion: 'reduce',
      forcedColors
    })
    await chat.page.waitForSelector('#list > li.found')
    t.equal(await chat.page.evaluate('document.getAnimations().length'), 0)
    t.not(
      await chat.page.evaluate(
        `getComputedStyle(document.querySelector('.found .bubble')).${mark}`
      ),
      'none',
      'the message that was linked to stands out all the same'
    )
    t.same(await axeFindings(chat.page), [])
  })
}

t.test('with forced colours, own messages and the state can be told by their borders', async t => {
  const room = freshRoom()
  for (const user of ['ann', 'bob']) await post(url, room, user, 'hello')
  const chat = await ChatPage.visit(t, browser, url, `?chat_id=${room}`, { forcedColors: 'active' })
  await chat.page.fill('#user', 'ann')
  await chat.open()
  await chat.page.press('#user', 'Tab')
  await chat.page.waitForSelector('#list > li.own')
  const border = (selector: string): Promise<string> =>
    chat.page.evaluate(`getComputedStyle(document.querySelector('${selector}')).borderTopWidth`)
  t.equal(await border('#list > li.own .bubble'), '2px')
  t.equal(await border('#list > li:not(.own) .bubble'), '1px')
  await chat.page.waitForSelector('#rooms a[aria-current]')
  const outline = await chat.page.evaluate(
    "getComputedStyle(document.querySelector('#rooms a[aria-current]')).outlineStyle"
  )
  t.equal(outline, 'solid', 'the room on screen is marked in the list')
})

t.test(
  'the picture has names for everything, and the arrow keys choose whose thread it is',
  async t => {
    const room = freshRoom()
    for (let n = 0; n < 12; n++) await post(url, room, 'ann', 'hello')
    for (const user of ['bob', 'bob', 'eve']) await post(url, room, user, 'hello')
    const context = await browser.newContext({ reducedMotion: 'reduce' })
    t.teardown(() => context.close())
    const page = await context.newPage()
    await page.goto(`${url}/cluster?room=${room}`)
    await page.locator('.brick').nth(4).waitFor({ state: 'attached' })
    const names = await page.locator('main').ariaSnapshot()
    for (const name of [
      /img "Shard 1: [\d,]+ slots, Shard 2: [\d,]+ slots, Shard 3: [\d,]+ slots"/,
      /group "Shards and bricks; the figures are in the table below"/,
      /img "Messages of each shard: 15, 0, 0"/,
      /img "Messages of each shard: \d+, \d+, \d+"/
    ]) {
      t.match(names, name)
    }
    t.notMatch(names, /button "ann, block/, 'a thousand bricks are not a thousand buttons')

    const thread = (): Promise<string> => page.innerText('#thread-user')
    await page.focus('#board')
    t.equal(await thread(), 'ann', 'who wrote most')
    const { body } = await request(`${url}/rooms/${room}/blocks`)
    const keys = (body['blocks'] as Array<{ key: string }>).map(({ key }) => key)
    for (const [key, user, messages] of [
      ['ArrowDown', 'bob', '2 messages'],
      ['ArrowDown', 'eve', '1 message'],
      ['ArrowDown', 'eve', '1 message'],
      ['ArrowUp', 'bob', '2 messages'],
      ['ArrowUp', 'ann', '12 messages'],
      ['ArrowUp', 'ann', '12 messages']
    ] as const) {
      await page.keyboard.press(key)
      await until(`the thread is ${user}'s`, async () => (await thread()) === user)
      const bricks = keys.filter(each => each.includes(`{${user}.`)).length
      const said = `${user}: ${messages} in ${bricks} ${bricks === 1 ? 'brick' : 'bricks'}`
      t.equal(await page.textContent('#chosen'), said)
    }
    t.equal(await page.evaluate('document.getAnimations().length'), 0)
  }
)
