// Where the page keeps the reader's place, and how it shows long or strange texts, in a real
// Chromium.
import t from 'tap'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName, postStored } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const service = await startService(t, { redisNodes: cluster.urls })
const browser = await openChromium(t)

const post = (room: string, user: string, text: string): Promise<void> =>
  postStored(service.url, room, user, text)

async function fill(room: string, count: number): Promise<void> {
  for (let n = 1; n <= count; n++) {
    await post(
      room,
      `user${n % 3}`,
      `message ${n}: ${'words that fill some lines on a phone '.repeat(n % 7)}`
    )
  }
}

const heightOf = (chat: ChatPage, row: number): Promise<number> =>
  chat.page.evaluate(
    `document.querySelectorAll('#list > li')[${row}].getBoundingClientRect().height`
  )

t.test('pasting a long text at the end, and undoing it, does not stop following', async t => {
  const room = newName()
  await fill(room, 60)
  for (const viewport of [
    { width: 360, height: 740 },
    { width: 1280, height: 800 }
  ]) {
    const chat = await ChatPage.visit(t, browser, service.url, `?chat_id=${room}`, { viewport })
    await chat.open()
    await until('the newest is in sight', () => chat.isAtEnd())
    await chat.page.focus('#text')
    await chat.page.keyboard.insertText('line\n'.repeat(30))
    await until('the newest is still in sight', () => chat.isAtEnd())
    await post(room, 'bob', `after the paste at ${viewport.width}`)
    await chat.shows(`after the paste at ${viewport.width}`)
    await until('the list follows', () => chat.isAtEnd())
    await chat.page.fill('#text', '')
    await until('the list still follows', () => chat.isAtEnd())
    t.notOk(await chat.page.isVisible('#newest'))
  }
})

t.test('rotating the window keeps the first visible row in place, there and back', async t => {
  const room = newName()
  await fill(room, 90)
  const chat = await ChatPage.visit(t, browser, service.url, `?chat_id=${room}`, {
    viewport: { width: 360, height: 740 }
  })
  await chat.open()
  await until(
    'the newest is in sight',
    async () => (await chat.seqs()).length === 90 && (await chat.isAtEnd())
  )
  await chat.scrollTo(2000)
  await chat.page.waitForSelector('#newest:visible')
  const seq = Number(
    await chat.page.evaluate(`(() => {
    const { top } = document.querySelector('#messages').getBoundingClientRect()
    return [...document.querySelectorAll('#list > li')].find(row => row.getBoundingClientRect().bottom > top).querySelector('.seq').textContent.slice(1)
  })()`)
  )
  const top = await chat.topOf(seq)
  for (const viewport of [
    { width: 740, height: 360 },
    { width: 1440, height: 900 },
    { width: 360, height: 740 }
  ]) {
    await chat.page.setViewportSize(viewport)
    await until(
      `the row is where it was at ${viewport.width} px`,
      async () => Math.abs((await chat.topOf(seq)) - top) <= 1,
      5000
    )
  }
  t.pass('the row stayed')
})

t.test('rotating the window at the newest message stays at the newest', async t => {
  const room = newName()
  await fill(room, 60)
  const chat = await ChatPage.visit(t, browser, service.url, `?chat_id=${room}`, {
    viewport: { width: 740, height: 360 }
  })
  await chat.open()
  await until('the newest is in sight', () => chat.isAtEnd())
  for (const viewport of [
    { width: 360, height: 740 },
    { width: 1440, height: 900 },
    { width: 740, height: 360 }
  ]) {
    await chat.page.setViewportSize(viewport)
    await until(`the newest is in sight at ${viewport.width} px`, () => chat.isAtEnd(), 5000)
  }
  t.notOk(await chat.page.isVisible('#newest'))
})

t.test(
  'a text is folded from 13 lines on, and unfolds and folds without moving its first line',
  async t => {
    const room = newName()
    for (const lines of [12, 13, 2000]) {
      await post(room, 'ann', Array.from({ length: lines }, (_, n) => n % 10).join('\n'))
    }
    await post(room, 'ann', 'word '.repeat(800))
    await post(room, 'ann', 'the last')
    const chat = await ChatPage.enter(t, browser, service.url, room)
    await chat.open()
    await chat.shows('the last')
    const [twelve, thirteen, many, words] = await Promise.all(
      [0, 1, 2, 3].map(row => heightOf(chat, row))
    )
    t.notOk(await chat.page.locator('#list .fold').nth(0).isVisible(), '12 lines are shown whole')
    for (const row of [1, 2, 3]) {
      t.ok(await chat.page.locator('#list .fold').nth(row).isVisible(), `row ${row + 1} is folded`)
    }
    for (const height of [twelve, thirteen, many, words]) t.ok(Number(height) < 400, `${height} px`)
    await chat.page.locator('#list .fold').nth(2).scrollIntoViewIfNeeded()
    const top = await chat.topOf(3)
    await chat.page.locator('#list .fold').nth(2).click()
    await until('all of it is shown', async () => (await heightOf(chat, 2)) > 40_000)
    t.ok(Math.abs((await chat.topOf(3)) - top) <= 1)
    t.equal(await chat.page.locator('#list .fold').nth(2).getAttribute('aria-expanded'), 'true')
    await chat.page.evaluate("document.querySelectorAll('#list .fold')[2].click()")
    await until('it is folded again', async () => (await heightOf(chat, 2)) < 400)
  }
)

for (const [what, go] of [
  // As by the browser's search, which no script can start.
  ['is scrolled to', "document.querySelector('#list .text a').scrollIntoView({ block: 'center' })"],
  ['gets the focus', "document.querySelector('#list .text a').focus()"]
] as const) {
  t.test(`a folded text unfolds when something in its hidden part ${what}`, async t => {
    const room = newName()
    const lines = Array.from({ length: 60 }, (_, n) => `line ${n}`)
    lines[50] = 'a needle, https://example.org/needle'
    for (let n = 1; n <= 30; n++) await post(room, 'ann', `message ${n}`)
    await post(room, 'ann', lines.join('\n'))
    await post(room, 'ann', 'the last')
    const chat = await ChatPage.enter(t, browser, service.url, room)
    await chat.open()
    await chat.shows('the last')
    await until('the newest is in sight', () => chat.isAtEnd())
    await chat.page.evaluate(go)
    const row = chat.page.locator('#list > li[data-seq="31"]')
    await until(
      'it is unfolded',
      async () => (await row.locator('.fold').innerText()) === 'Show less'
    )
    await until('it is in sight', () =>
      chat.page.evaluate(`(() => {
        const link = document.querySelector('#list .text a').getBoundingClientRect()
        return document.elementFromPoint(link.left + 5, link.top + 5)?.matches('#list .text a') === true
      })()`)
    )
    await row.locator('.fold').click()
    await until('it is folded again', async () => (await heightOf(chat, 30)) < 400)
    t.equal(
      await chat.page.evaluate(
        `document.querySelector('#list > li[data-seq="31"] .text').scrollTop`
      ),
      0,
      'from its start'
    )
  })
}

t.test('what is copied from a folded text has all of its lines, and no button', async t => {
  const room = newName()
  const text = Array.from({ length: 20 }, (_, n) => `line ${n}`).join('\n')
  await post(room, 'bob', text)
  await post(room, 'bob', 'the last')
  const chat = await ChatPage.enter(t, browser, service.url, room)
  await chat.open()
  await chat.shows('the last')
  await chat.page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  const rows = chat.page.locator('#list > li')
  const [from, to] = await Promise.all(
    [0, 1].map(row => rows.nth(row).locator('.text').boundingBox())
  )
  await chat.page.mouse.move(Number(from?.x), Number(from?.y) + 5)
  await chat.page.mouse.down()
  await chat.page.mouse.move(Number(to?.x) + Number(to?.width) + 5, Number(to?.y) + 10, {
    steps: 10
  })
  await chat.page.mouse.up()
  await chat.page.keyboard.press('Control+c')
  const copied: string = await chat.page.evaluate('navigator.clipboard.readText()')
  t.same(copied.split(/\n+/), [...text.split('\n'), 'the last'])
})

t.test('whether a text is folded depends on the width of the window', async t => {
  const room = newName()
  await post(room, 'ann', 'word '.repeat(150))
  const chat = await ChatPage.visit(t, browser, service.url, `?chat_id=${room}`, {
    viewport: { width: 1440, height: 900 }
  })
  await chat.open()
  await chat.shows('word '.repeat(150))
  t.notOk(await chat.page.isVisible('#list .fold'))
  await chat.page.setViewportSize({ width: 320, height: 900 })
  await chat.page.waitForSelector('#list .fold:visible')
  await chat.page.setViewportSize({ width: 1440, height: 900 })
  await chat.page.waitForSelector('#list .fold', { state: 'hidden' })
})

t.test('combining marks are drawn over no other row, wherever they come from', async t => {
  const pile = `Z${'\u0323\u0330\u034d\u0311\u030e\u0301'.repeat(40)}algo`
  // As many different marks on one letter as a name may have.
  const name = 'Q\u0323\u0330\u0311\u030e'
  const shots: Buffer[] = []
  for (const [user, text] of [
    ['Zed', 'Zalgo'],
    [name, pile]
  ] as const) {
    const room = newName()
    await post(room, 'ann', 'above')
    await post(room, user, text)
    await post(room, 'bob', 'below')
    const chat = await ChatPage.enter(t, browser, service.url, room)
    await chat.open()
    await chat.shows('below')
    // The times differ from run to run.
    await chat.page.evaluate(
      "for (const meta of document.querySelectorAll('#list :is(.meta, .at)')) meta.style.visibility = 'hidden'"
    )
    const rows = chat.page.locator('#list > li')
    for (const row of [0, 2]) shots.push(await rows.nth(row).screenshot())
  }
  t.ok(shots[0]?.equals(shots[2] ?? Buffer.alloc(0)), 'the row above looks as before')
  t.ok(shots[1]?.equals(shots[3] ?? Buffer.alloc(0)), 'the row below looks as before')
})
