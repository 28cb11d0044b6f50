// Finding a place in a room's history, and finding it again, in a real Chromium.
import t, { type Test } from 'tap'
import { axeFindings } from '../support/axe.js'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName, postMany } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const { url } = await startService(t, { redisNodes: (await startCluster(t)).urls })
const browser = await openChromium(t)

const COUNT = 400
const room = newName()
await postMany(url, room, 'ann', COUNT)

/** The first visible row, and how far below the upper edge it begins. */
const sight = (chat: ChatPage): Promise<{ seq: number; top: number }> =>
  chat.page.evaluate(`(() => {
    const { top } = document.querySelector('#messages').getBoundingClientRect()
    const row = [...document.querySelectorAll('#list > li')].find(each => each.getBoundingClientRect().bottom > top)
    return { seq: Number(row.dataset.seq), top: Math.round(row.getBoundingClientRect().top - top) }
  })()`)

/** Scrolls up until older messages have loaded. */
async function scrolledBack(t: Test): Promise<ChatPage> {
  const chat = await ChatPage.enter(t, browser, url, room)
  await chat.open()
  await until('the newest is in sight', async () => Number((await chat.seqs()).at(-1)) >= COUNT)
  await chat.scrollTo(0)
  await until('older messages have loaded', async () => (await chat.seqs())[0] === 1)
  // The list may be drawn once more, which undoes scrolling in the meantime.
  await until('it is there', async () => {
    await chat.scrollTo(3000)
    await chat.page.evaluate('new Promise(requestAnimationFrame)')
    await chat.page.evaluate('new Promise(requestAnimationFrame)')
    return chat.page.evaluate<boolean>("document.querySelector('#messages').scrollTop === 3000")
  })
  return chat
}

async function isAt(chat: ChatPage, place: { seq: number; top: number }): Promise<void> {
  await until(`#${place.seq} is where it was`, async () => {
    const now = await sight(chat)
    return now.seq === place.seq && Math.abs(now.top - place.top) <= 1
  })
}

t.test('a reload, and Back from another room, return to the place and the draft', async t => {
  const chat = await scrolledBack(t)
  await chat.write('ann', 'a draft')
  const place = await sight(chat)
  t.ok(place.seq < COUNT - 50, `#${place.seq}`)
  await chat.page.reload()
  await chat.becomes('live')
  await isAt(chat, place)
  t.equal(await chat.text(), 'a draft')
  await chat.page.goto(`${url}/chat?chat_id=${newName()}`)
  t.equal(await chat.text(), '', 'it belongs to its room')
  await chat.page.goBack()
  await chat.becomes('live')
  await isAt(chat, place)
  t.equal(await chat.text(), 'a draft')
  t.equal(await chat.page.inputValue('#user'), 'ann')
  // Opened again, not reached by Back: at the newest message.
  await chat.page.goto(`${url}/chat?chat_id=${newName()}`)
  await chat.page.goto(`${url}/chat?chat_id=${room}`)
  await chat.becomes('live')
  await until('the newest is in sight', async () => (await chat.seqs()).at(-1) === COUNT)
  await until('at the end', () => chat.isAtEnd())
})

t.test('going back to a place does not count the newest messages as read', async t => {
  const chat = await scrolledBack(t)
  const mark = (): Promise<string | null> =>
    chat.page.evaluate(`localStorage.getItem('dialogs.read.${room}')`)
  await until('it was read to the end before', async () => /^400 /.test((await mark()) ?? ''))
  await postMany(url, room, 'bob', 3)
  await chat.page.reload()
  await chat.becomes('live')
  await until(
    'the newest messages have loaded',
    async () => (await chat.page.innerText('#newest')) !== ''
  )
  // The mark is stored with a delay, and when the page is left.
  await chat.page.reload()
  await chat.becomes('live')
  t.match(await mark(), /^400 /)
})

// The service sets the times itself, so the answers are changed on their way to the page: the times
// of searched and shown pages are spread over days, an hour for each message. The newest page keeps
// its times, because the stream continues after its last message.
const HOUR_MS = 3_600_000
const START = new Date(2026, 0, 1).getTime()
const spreadTimes = async (chat: ChatPage): Promise<void> => {
  await chat.page.route(/\/messages\?.*(?:after|before)=/, async route => {
    const response = await route.fetch()
    // PageAnswer in src/routes/schemas.ts.
    const body = (await response.json()) as { messages: Array<{ seq: number; at: string }> }
    for (const entry of body.messages) {
      entry.at = new Date(START + (entry.seq - 1) * HOUR_MS).toISOString()
    }
    await route.fulfill({ response, json: body })
  })
}

t.test("a jump from the newest message to a day highlights the day's first message", async t => {
  const chat = await ChatPage.enter(t, browser, url, room)
  await spreadTimes(chat)
  await chat.open()
  await until('the newest is there', async () => (await chat.seqs()).at(-1) === COUNT + 3)
  t.notOk(await chat.page.isVisible('#date button'), 'at the newest message no date is in the way')
  t.ok(await chat.page.isVisible('#choose-date'))
  const choose = async (day: string): Promise<void> => {
    await chat.page.evaluate(`(() => {
      const input = document.querySelector('#date input')
      input.value = '${day}'
      input.dispatchEvent(new Event('change'))
    })()`)
  }
  // 24 messages a day: #1 is the first of January 1, #121 that of January 6.
  await choose('2026-01-06')
  await chat.page.waitForSelector('#list > li[data-seq="121"].found')
  t.ok((await chat.topOf(121)) > 0)
  t.ok(await chat.page.isVisible('#date button'), 'the day is shown above')
  t.match(await chat.page.innerText('#date .day'), /January|Jan/)
  await choose('2025-06-01')
  await chat.page.waitForSelector('#list > li[data-seq="1"].found')
  await choose('2026-01-17')
  await chat.page.waitForSelector('#list > li[data-seq="385"].found')
  await choose('2030-01-01')
  await until('for a day in the future: the newest', () => chat.isAtEnd())
})

t.test("the browser's date picker opens, from the chip and from the column", async t => {
  const chat = await scrolledBack(t)
  await chat.page.evaluate(
    'window.shown = 0; HTMLInputElement.prototype.showPicker = () => { window.shown++ }'
  )
  await chat.page.click('#choose-date')
  await chat.page.click('#date button')
  t.equal(await chat.page.evaluate('window.shown'), 2)
  t.match(await chat.page.getAttribute('#date input', 'max'), /^\d{4}-\d\d-\d\d$/)
  await chat.page.evaluate(
    "HTMLInputElement.prototype.showPicker = () => { throw new Error('old browser') }"
  )
  await chat.page.click('#date button')
  t.equal(await chat.page.evaluate('document.activeElement.type'), 'date', 'the day can be typed')
  t.same(await axeFindings(chat.page), [], 'axe finds nothing about the chip and its field')
})
