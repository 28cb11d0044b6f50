// The page in a real Chromium, with a real service on a real cluster. Situations that a healthy
// service never causes (a rewound room, an answer that is cut off) are simulated in the browser's
// network.
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { createCluster } from 'redis'
import t from 'tap'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName, postStored, readAll, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const service = await startService(t, { redisNodes: cluster.urls })
const browser = await openChromium(t)

const post = (room: string, user: string, text: string): Promise<void> =>
  postStored(service.url, room, user, text)

const storedTexts = async (room: string): Promise<unknown[]> =>
  (await readAll(service.url, room)).map(({ text }) => text)

t.test('two pages in a room talk to each other', async t => {
  const room = newName()
  const ann = await ChatPage.enter(t, browser, service.url, room)
  const bob = await ChatPage.enter(t, browser, service.url, room)
  await Promise.all([ann.open(), bob.open()])
  await ann.send('ann', 'Good evening, Bob')
  await bob.shows('Good evening, Bob')
  await bob.send('bob', 'and to you, Ann')
  for (const chat of [ann, bob]) {
    await chat.shows('and to you, Ann')
    t.same(await chat.lines(), ['ann: Good evening, Bob', 'bob: and to you, Ann'])
    t.same(await chat.seqs(), [1, 2])
  }
})

t.test('a page shows the history first and then new messages, in one order', async t => {
  const room = newName()
  for (const n of sequence(1, 7)) await post(room, 'ann', `before ${n}`)
  const chat = await ChatPage.enter(t, browser, service.url, room)
  t.same(await chat.seqs(), [], 'nothing is streamed before OPEN')
  await chat.open()
  await chat.shows('before 7')
  for (const n of sequence(1, 3)) await post(room, 'bob', `after ${n}`)
  await chat.shows('after 3')
  t.same(await chat.seqs(), sequence(1, 10))
  t.match(await chat.page.innerText('#people'), /ann\s+7/)
})

t.test(
  'CLOSE ends the stream, and OPEN continues after the last message without a repeat',
  async t => {
    const room = newName()
    const chat = await ChatPage.enter(t, browser, service.url, room)
    const witness = await ChatPage.enter(t, browser, service.url, room)
    await Promise.all([chat.open(), witness.open()])
    await post(room, 'ann', 'seen by both')
    await chat.shows('seen by both')
    await chat.close()
    await post(room, 'ann', 'seen by the witness')
    await witness.shows('seen by the witness')
    t.same(await chat.texts(), ['seen by both'])
    await chat.open()
    await chat.shows('seen by the witness')
    await post(room, 'ann', 'seen by both again')
    await chat.shows('seen by both again')
    t.same(await chat.seqs(), [1, 2, 3])
  }
)

t.test(
  'a message can be sent while the stream is closed, and the page says what became of it',
  async t => {
    const room = newName()
    const chat = await ChatPage.enter(t, browser, service.url, room)
    await chat.send('ann', 'into the dark')
    await until('the page says so', async () => /#1\b/.test(await chat.notice()))
    t.same(await storedTexts(room), ['into the dark'])
  }
)

t.test('Enter sends, Shift and Enter start a new line, and white space is not sent', async t => {
  const room = newName()
  const chat = await ChatPage.enter(t, browser, service.url, room)
  await chat.open()
  await chat.write('ann', '  ')
  await chat.page.press('#text', 'Enter')
  await chat.write('ann', 'two')
  await chat.page.press('#text', 'Shift+Enter')
  await chat.page.keyboard.type('lines')
  await chat.page.keyboard.press('Enter')
  await chat.shows('two\nlines')
  t.same(await storedTexts(room), ['two\nlines'])
})

t.test('the same text twice is two messages', async t => {
  const room = newName()
  const chat = await ChatPage.enter(t, browser, service.url, room)
  await chat.send('ann', 'knock')
  await chat.send('ann', 'knock')
  t.same(await storedTexts(room), ['knock', 'knock'])
})

t.test('HTML in a text, a user and a room is shown as text', async t => {
  const html = '<img src=x onerror="document.title=1"><b>bold</b>'
  const room = `<i>${randomUUID()}</i>`
  const chat = await ChatPage.enter(t, browser, service.url, room)
  await chat.open()
  await chat.send('<u>ann</u>', html)
  await chat.shows(html)
  t.same(await chat.lines(), [`<u>ann</u>: ${html}`])
  t.equal(await chat.page.innerText('#room-name'), room)
  t.equal(await chat.page.locator('#room :is(img, #list b, i, u)').count(), 0)
  t.equal(await chat.page.title(), `${room} · Dialogs`)
})

t.test('the page remembers who writes', async t => {
  const chat = await ChatPage.enter(t, browser, service.url, newName())
  await chat.page.fill('#user', 'lady_gaga')
  await chat.page.press('#user', 'Tab')
  await chat.page.reload()
  t.equal(await chat.page.inputValue('#user'), 'lady_gaga')
})

t.test('two tabs of a browser are two people, over reloads and in other rooms', async t => {
  const ann = await ChatPage.enter(t, browser, service.url, newName())
  const bob = await ChatPage.visitIn(t, ann.page.context(), service.url, `?chat_id=${newName()}`)
  for (const [chat, user] of [
    [ann, 'ann'],
    [bob, 'bob']
  ] as const) {
    await chat.page.fill('#user', user)
    await chat.page.press('#user', 'Tab')
  }
  await ann.page.reload()
  t.equal(await ann.page.inputValue('#user'), 'ann')
  await ann.page.goto(`${service.url}/chat?chat_id=${newName()}`)
  t.equal(await ann.page.inputValue('#user'), 'ann')
  const third = await ChatPage.visitIn(t, ann.page.context(), service.url, `?chat_id=${newName()}`)
  t.equal(await third.page.inputValue('#user'), 'bob', 'a new tab begins with the latest name')
})

t.test(
  'without a room, or with one that the service refuses, the page asks for a room',
  async t => {
    const chat = await ChatPage.visit(t, browser, service.url, '')
    t.ok(await chat.page.isVisible('#chooser'))
    t.notOk(await chat.page.isVisible('#room'))
    await chat.page.fill('#chat-id', 'a{b}')
    await chat.page.press('#chat-id', 'Enter')
    await until('the reason is shown', async () =>
      /brace/.test(await chat.page.innerText('#chooser-fault'))
    )
    t.equal(await chat.page.inputValue('#chat-id'), 'a{b}')
    const room = newName()
    await chat.page.fill('#chat-id', room)
    await chat.page.press('#chat-id', 'Enter')
    await chat.open()
    t.equal(await chat.page.innerText('#room-name'), room)
  }
)

t.test('/ leads to the page', async t => {
  const response = await fetch(service.url)
  t.equal(response.url, `${service.url}/chat`)
  t.match(response.headers.get('content-security-policy'), /default-src 'none'; script-src 'self'/)
  t.equal(response.headers.get('cache-control'), 'no-cache')
})

t.test('the page is small, needs few requests, and is cached for ever', async t => {
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const page = await context.newPage()
  const files: string[] = []
  let bytes = 0
  page.on('response', async response => {
    const { pathname } = new URL(response.url())
    if (pathname !== '/chat' && !pathname.startsWith('/chat/')) return
    files.push(pathname)
    bytes += (await response.request().sizes()).responseBodySize
  })
  await page.goto(`${service.url}/chat?chat_id=${newName()}`)
  await page.click('#open')
  await page.waitForSelector('#state[data-state="live"]')
  const assets = files.filter(path => path !== '/chat')
  t.ok(assets.length <= 3, assets.join(' '))
  await until('the sizes are known', () => bytes > 0)
  t.ok(bytes < 40 * 1024, `${bytes} bytes`)
  for (const path of assets.filter(path => !path.endsWith('.svg'))) {
    t.match(path, /^\/chat\/chat-[A-Z0-9]{8}\.(?:js|css)$/)
    const { headers } = await fetch(`${service.url}${path}`)
    t.match(headers.get('cache-control'), /max-age=31536000, immutable/)
  }
})

t.test('no other file is served beside the page', async t => {
  for (const path of [
    'chat.ts',
    'bundle.mjs',
    'chat.template.html',
    'transcript.js',
    'tsconfig.json',
    'tsconfig.tsbuildinfo',
    '..%2fpackage.json',
    '%2e%2e/package.json',
    ''
  ]) {
    t.equal((await fetch(`${service.url}/chat/${path}`)).status, 404, path)
  }
})

t.test(
  'a long room starts with its newest messages, pages back to its first, and keeps few rows',
  async t => {
    const room = newName()
    const count = 2600
    // Twenty at a time; their order does not matter here.
    for (let n = 0; n < count; n += 20) {
      await Promise.all(sequence(1, 20).map(k => post(room, `user${k}`, `message ${n + k}`)))
    }
    const chat = await ChatPage.enter(t, browser, service.url, room)
    await chat.open()
    await until('the newest are there', async () => (await chat.seqs()).at(-1) === count)
    t.same(await chat.seqs(), sequence(count - 99, count))

    for (let first = count - 99; first > 1; first = Math.max(1, first - 500)) {
      // The row is at the edge of the window now, and stays there when rows are added above it.
      await chat.scrollTo(0)
      const top = await chat.topOf(first)
      await until(
        'the previous page has loaded by itself',
        async () => (await chat.seqs())[0] === Math.max(1, first - 500)
      )
      t.ok(Math.abs((await chat.topOf(first)) - top) <= 1, 'the row in view did not move')
    }
    t.notOk(await chat.page.isVisible('#earlier'), 'there is nothing before the first message')
    t.same(await chat.seqs(), sequence(1, 2000))

    await chat.page.evaluate(
      "document.querySelector('#messages').scrollTop = document.querySelector('#messages').scrollHeight"
    )
    await until(
      'the end has loaded again, by itself',
      async () => (await chat.seqs()).at(-1) === count
    )
    const seqs = await chat.seqs()
    t.same(seqs, sequence(seqs[0] ?? 1, count))
    t.ok(seqs.length <= 2500)

    await chat.page.click('#newest')
    await until('the newest is in sight', () => chat.isAtEnd())
    await post(room, 'ann', 'the last')
    await chat.shows('the last')
    await until('the list follows', () => chat.isAtEnd())
  }
)

t.test('new messages do not move a reader who has scrolled up; a button counts them', async t => {
  const room = newName()
  for (let n = 0; n < 100; n += 20) {
    await Promise.all(sequence(1, 20).map(k => post(room, 'ann', `message ${n + k}`)))
  }
  const chat = await ChatPage.enter(t, browser, service.url, room)
  await chat.open()
  await until(
    'the newest is in sight',
    async () => (await chat.seqs()).length === 100 && (await chat.isAtEnd())
  )
  await chat.scrollTo(400)
  await chat.page.waitForSelector('#newest:visible')
  const before = await chat.topOf(50)
  await post(room, 'bob', 'one more')
  await post(room, 'bob', 'and another')
  await chat.shows('and another')
  t.equal(await chat.topOf(50), before)
  t.match(await chat.page.innerText('#newest'), '2 new messages')
  await chat.page.click('#newest')
  await until('the newest is in sight', () => chat.isAtEnd())
  await until('the button is gone', async () => !(await chat.page.isVisible('#newest')))
})

t.test('a message that a shard has lost is shown as a gap', async t => {
  const [room, ann, bob] = [newName(), newName(), newName()]
  await post(room, ann, 'kept')
  await post(room, bob, 'lost')
  await post(room, ann, 'kept too')
  const redis = createCluster({ rootNodes: cluster.urls.map(url => ({ url })) })
  await redis.connect()
  t.teardown(() => redis.disconnect())
  await redis.del(`${room}.{${bob}.0}`)
  const chat = await ChatPage.enter(t, browser, service.url, room)
  await chat.open()
  await chat.shows('kept too')
  t.same(await chat.seqs(), [1, 2, 3])
  t.match((await chat.texts())[1], /#2 was lost/)
})

t.test(
  'after a restart of the service, the page continues where it was, without loss or repeats',
  async t => {
    const service = await startService(t, { redisNodes: cluster.urls })
    const room = newName()
    const chat = await ChatPage.enter(t, browser, service.url, room)
    await chat.open()
    await chat.send('ann', 'before')
    await chat.shows('before')

    await service.stop()
    // What a proxy answers while no service is behind it. It makes an EventSource give up for good.
    let refusals = 0
    const proxy = createServer((_request, response) => {
      refusals++
      response.writeHead(503, { 'retry-after': '1' }).end('No service')
    })
    await new Promise<void>(resolve => {
      proxy.listen(Number(new URL(service.url).port), '127.0.0.1', resolve)
    })
    await chat.becomes('reconnecting')
    await chat.write('ann', 'meanwhile')
    await chat.page.press('#text', 'Enter')
    await until('the page says that it is trying again', async () =>
      /Trying again/.test((await chat.pending())[0]?.progress ?? '')
    )
    t.equal(await chat.text(), '')
    await until('the page was refused several times', () => refusals >= 4)
    proxy.closeAllConnections()
    await new Promise(resolve => {
      proxy.close(resolve)
    })

    await service.restart()
    await chat.hasSentAll(30_000)
    await chat.page.waitForSelector('#state[data-state="live"]', { timeout: 30_000 })
    await chat.send('ann', 'after')
    await chat.shows('after')
    t.same(await chat.lines(), ['ann: before', 'ann: meanwhile', 'ann: after'])
    t.same(await chat.seqs(), [1, 2, 3])
  }
)
