// The page where the service asks for tokens, and what a page of another origin can do with the
// cookie of this one, in a real Chromium.
import http, { createServer, type Server } from 'node:http'
import { type AddressInfo } from 'node:net'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { type NewToken, signToken } from '../../src/cli/sign-token.js'
import { SKEW_S } from '../../src/identity/tokens.js'
import { axeFindings } from '../support/axe.js'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName, post, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const SECRET = 'only-these-tests-know-this-secret-of-theirs'
const { url } = await startService(t, {
  redisNodes: (await startCluster(t)).urls,
  env: { AUTH_JWT_SECRET: SECRET }
})
const browser = await openChromium(t)

const tokenOf = (more: Partial<NewToken>): Promise<string> =>
  signToken(SECRET, { ttlS: 600, ...more })
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
const asAdmin = bearer(await tokenOf({ isAdmin: true }))
/** A token that is valid for this many more seconds, including the tolerance. */
const endingIn = (s: number): { readonly ttlS: number } => ({ ttlS: s - SKEW_S })

async function giveToken(chat: ChatPage, token: string): Promise<void> {
  await chat.page.waitForSelector('#sign-in[open]')
  await chat.page.fill('#token', token)
  await chat.page.press('#token', 'Enter')
}

/** The addresses that the page requests, including its worker. */
function addressesOf({ page }: ChatPage): string[] {
  const asked: string[] = []
  page.context().on('request', each => asked.push(each.url()))
  return asked
}

async function setCookie({ page }: ChatPage, token: string): Promise<void> {
  await page.context().addCookies([{ name: 'token', value: token, url, sameSite: 'Strict' }])
}

/** A tab with a cookie that gives it the right, as an application would set it. */
async function enterByCookie(t: Test, room: string, token: string): Promise<ChatPage> {
  const chat = await ChatPage.visit(t, browser, url, '')
  await setCookie(chat, token)
  await chat.page.goto(`${url}/chat?chat_id=${room}`)
  return chat
}

t.test(
  'a token is asked for, names the user, and is in no address and no persistent storage',
  async t => {
    const room = newName()
    const token = await tokenOf({ user: 'Änn', read: [room], write: [room] })
    const chat = await ChatPage.visit(t, browser, url, '')
    const asked = addressesOf(chat)
    await chat.page.goto(`${url}/chat?chat_id=${room}`)
    await chat.page.waitForSelector('#sign-in[open]')
    t.ok(await chat.page.isVisible('#sign-in-hint'), 'it says what a token is')
    t.equal(await chat.page.evaluate('document.activeElement.id'), 'token')
    await giveToken(chat, token)
    await chat.becomes('live')
    t.equal(await chat.page.inputValue('#user'), 'Änn')
    t.equal(await chat.page.evaluate("document.querySelector('#user').readOnly"), true)
    await chat.page.fill('#text', 'hello')
    await chat.page.press('#text', 'Enter')
    await chat.shows('hello')
    t.equal(await chat.page.locator('#list > li.own').count(), 1)
    await until('it is among the dialogs', async () =>
      (await chat.page.locator('#rooms .name').allTextContents()).includes(room)
    )

    await chat.page.reload()
    await chat.becomes('live')
    t.notOk(await chat.page.isVisible('#sign-in'), 'a reload does not ask again')
    t.equal(await chat.page.inputValue('#user'), 'Änn')
    const signature = token.split('.')[2] ?? ''
    t.ok(asked.length > 5)
    t.same(
      asked.filter(address => address.includes(signature)),
      []
    )
    t.notMatch(chat.page.url(), signature)
    const stored = JSON.stringify(await chat.page.context().storageState())
    t.notMatch(stored, signature, 'neither in a cookie nor in localStorage')

    const tab = await ChatPage.visitIn(t, chat.page.context(), url, `?chat_id=${room}`)
    await tab.page.waitForSelector('#sign-in[open]')
    const bob = await tokenOf({ user: 'bob', read: [room], write: [room] })
    await giveToken(tab, bob)
    await tab.becomes('live')
    await tab.page.fill('#text', 'from another tab, as somebody else')
    await tab.page.press('#text', 'Enter')
    await chat.shows('from another tab, as somebody else')
    t.same(await chat.lines(), ['Änn: hello', 'bob: from another tab, as somebody else'])
  }
)

t.test('a bad token is refused with the reason, and Escape leaves the room as it is', async t => {
  const room = newName()
  const chat = await ChatPage.enter(t, browser, url, room)
  await giveToken(chat, 'no.such.token')
  await chat.page.waitForSelector('#sign-in[open]')
  await until('it says why', async () => (await chat.page.innerText('#sign-in-fault')) !== '')
  await chat.page.keyboard.press('Escape')
  t.notOk(await chat.page.isVisible('#sign-in'))
  t.equal(await chat.page.innerText('#state'), 'Not allowed')
  await chat.page.click('#open')
  await giveToken(chat, await tokenOf({ user: 'ann', read: [room] }))
  await chat.becomes('live')
})

for (const colorScheme of ['light', 'dark'] as const) {
  t.test(`axe finds nothing in the form for a token, refused, ${colorScheme}`, async t => {
    const chat = await ChatPage.visit(t, browser, url, `?chat_id=${newName()}`, { colorScheme })
    await giveToken(chat, 'no.such.token')
    await until('it says why', async () => (await chat.page.innerText('#sign-in-fault')) !== '')
    t.ok(await chat.page.isVisible('#sign-in'))
    t.same(await axeFindings(chat.page), [])
  })
}

t.test('after a token expires another is asked for; nothing is missed or lost', async t => {
  const room = newName()
  await post(url, room, 'bob', 'before', asAdmin)
  const rights = { user: 'ann', read: [room], write: [room] }
  const chat = await ChatPage.enter(t, browser, url, room)
  await giveToken(chat, await tokenOf({ ...rights, ...endingIn(8) }))
  await chat.becomes('live')
  await chat.shows('before')
  await chat.page.waitForSelector('#sign-in[open]')
  await until('it says so', async () => (await chat.page.innerText('#state')) === 'Not allowed')
  await post(url, room, 'bob', 'meanwhile', asAdmin)
  t.same(await chat.texts(), ['before'])
  // Typed without a right: it waits for one.
  await chat.page.keyboard.press('Escape')
  await chat.page.fill('#text', 'typed meanwhile')
  await chat.page.press('#text', 'Enter')
  await giveToken(chat, await tokenOf(rights))
  await chat.becomes('live')
  await chat.shows('typed meanwhile')
  t.same(await chat.lines(), ['bob: before', 'bob: meanwhile', 'ann: typed meanwhile'])
  await until('nothing is pending', async () => (await chat.pending()).length === 0)
})

t.test('with a cookie that the application renews, the page asks for nothing', async t => {
  const room = newName()
  const rights = { user: 'ann', read: [room], write: [room] }
  const chat = await enterByCookie(t, room, await tokenOf({ ...rights, ...endingIn(6) }))
  await chat.open()
  await setCookie(chat, await tokenOf(rights))
  await chat.page.waitForSelector('#state:not([data-state="live"])')
  await post(url, room, 'bob', 'meanwhile', asAdmin)
  await chat.becomes('live')
  await chat.shows('meanwhile')
  t.notOk(await chat.page.isVisible('#sign-in'))
})

t.test('a removed user is told, gets nothing more, and may come back', async t => {
  const room = newName()
  const member = `${url}/rooms/${room}/users/ann`
  await request(member, { method: 'PUT', headers: asAdmin })
  await post(url, room, 'bob', 'for ann', asAdmin)
  const token = await tokenOf({ user: 'ann', read: ['member'], write: ['member'] })
  const chat = await enterByCookie(t, room, token)
  await chat.open()
  await chat.shows('for ann')
  await request(member, { method: 'DELETE', headers: asAdmin })
  await until('it says so', async () => (await chat.page.innerText('#state')) === 'Not allowed')
  t.match(await chat.notice(), /right|read|member/i)
  await post(url, room, 'bob', 'not for ann', asAdmin)
  await request(member, { method: 'PUT', headers: asAdmin })
  t.same(await chat.texts(), ['for ann'])
  await chat.open()
  await chat.shows('not for ann')
  t.same(await chat.seqs(), [1, 2])
})

t.test('without the right to a room, the page says so and asks for no other name', async t => {
  const chat = await enterByCookie(t, newName(), await tokenOf({ user: 'ann', read: ['other'] }))
  await chat.page.click('#open')
  await until('it says so', async () => (await chat.page.innerText('#state')) === 'Not allowed')
  t.ok(await chat.page.isVisible('.when-refused'))
  t.notOk(await chat.page.isVisible('#chooser'))
  t.notOk(await chat.page.isVisible('#sign-in'))
  t.notOk((await chat.page.getAttribute('#open', 'aria-disabled')) === 'true', 'OPEN asks again')
})

async function listening(t: Test, server: Server): Promise<string> {
  await new Promise<void>(resolve => {
    server.listen(0, '127.0.0.1', resolve)
  })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  // listen was given a port, so it is an AddressInfo.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** An attacker's server on the same host, so that the browser does send the cookie. */
const startOther = (t: Test): Promise<string> =>
  listening(
    t,
    createServer((_request, response) => {
      response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<!doctype html><title>x</title>')
    })
  )

type Passed = { readonly path: string; readonly hasCookie: boolean; readonly status: number }

/**
 * A proxy in front of the service that records what the browser sends, whatever pages may know of
 * it.
 */
async function startWitness(t: Test): Promise<{ front: string; passed: Passed[] }> {
  const passed: Passed[] = []
  const server = createServer((request, response) => {
    const { method, headers, url: path = '' } = request
    const onwards = http.request(url + path, { method, headers, setHost: false }, answer => {
      const hasCookie = (headers.cookie ?? '').includes('token=')
      // A page also asks for its icon.
      if (path.startsWith('/rooms/')) {
        passed.push({ path: `${method} ${path}`, hasCookie, status: answer.statusCode ?? 0 })
      }
      response.writeHead(answer.statusCode ?? 0, answer.headers)
      answer.pipe(response)
    })
    onwards.on('error', () => response.destroy())
    response.on('close', () => onwards.destroy())
    request.pipe(onwards)
  })
  return { front: await listening(t, server), passed }
}

t.test('the picture of the cluster is for operators, and offers nobody to write', async t => {
  const room = newName()
  await post(url, room, 'ann', 'hello', asAdmin)
  const chat = await enterByCookie(t, room, await tokenOf({ isAdmin: true }))
  await chat.page.goto(`${url}/cluster?room=${room}`)
  await chat.page.waitForSelector('#state[data-state="live"]')
  await chat.page.waitForSelector('.brick', { state: 'attached' })
  t.notOk(await chat.page.isVisible('#write'))
  await setCookie(chat, await tokenOf({ user: 'ann', read: ['*'] }))
  await chat.page.reload()
  await chat.page.waitForSelector('#state[data-state="lost"]')
  t.equal(await chat.page.locator('.shard, .brick').count(), 0)
})

t.test(
  'a page of another origin can write and read nothing with the cookie of this one',
  async t => {
    const room = newName()
    const rights = { user: 'ann', read: [room], write: [room] }
    const chat = await enterByCookie(t, room, await tokenOf(rights))
    await chat.open()
    await chat.page.fill('#user', 'ann')
    await chat.page.fill('#text', 'her own')
    await chat.page.press('#text', 'Enter')
    await chat.shows('her own')

    const other = await startOther(t)
    const { front, passed } = await startWitness(t)
    const target = `${front}/rooms/${room}/messages`
    const attack = async (what: string, script: string): Promise<void> => {
      passed.length = 0
      const page: Page = await chat.page.context().newPage()
      await page.goto(other)
      await page.evaluate(script)
      await until(`${what} is answered`, () => passed.length > 0)
      t.match(
        passed,
        [{ hasCookie: true, status: 403 }],
        `${what} brings the cookie, and is refused`
      )
      // Left open until the test ends: Chromium may never close a page whose form was refused.
    }
    const body = '{"user":"ann","text":"forged"}'
    await attack(
      'a form',
      `(() => {
      const form = document.createElement('form')
      form.method = 'post'
      form.enctype = 'text/plain'
      form.action = '${target}'
      const input = document.createElement('input')
      input.name = '{"user":"ann","text":"forged","x":"'
      input.value = '"}'
      form.append(input)
      document.body.append(form)
      form.submit()
    })()`
    )
    await attack(
      'fetch no-cors',
      `void fetch('${target}', { method: 'POST', mode: 'no-cors', credentials: 'include', body: '${body}' })`
    )
    await attack('an image', `void (new Image().src = '${target}')`)
    await attack(
      'a script',
      `void document.body.append(Object.assign(document.createElement('script'), { src: '${target}' }))`
    )
    // The same requests from a page of this origin are accepted, so the cookie is valid.
    passed.length = 0
    const own: Page = await chat.page.context().newPage()
    await own.goto(`${front}/chat`)
    const json = "headers: { 'content-type': 'application/json' }"
    await own.evaluate(`fetch('${target}', { method: 'POST', ${json}, body: '${body}' })`)
    t.match(passed.at(-1), { hasCookie: true, status: 201 })
    await own.close()

    // Requests with a preflight are not sent at all, and what they would read is not shown.
    const page = await chat.page.context().newPage()
    await page.goto(other)
    for (const init of [
      `{ method: 'POST', credentials: 'include', headers: { 'content-type': 'application/json' }, body: '${body}' }`,
      "{ method: 'DELETE', credentials: 'include' }",
      "{ credentials: 'include' }"
    ]) {
      t.equal(
        await page.evaluate(`fetch('${target}', ${init}).then(() => 'read', () => 'refused')`),
        'refused',
        init
      )
    }
    t.equal(
      await page.evaluate(`new Promise(resolve => {
      const source = new EventSource('${front}/rooms/${room}/events', { withCredentials: true })
      source.onmessage = () => resolve('read')
      source.onerror = () => resolve('refused')
    })`),
      'refused',
      'a stream'
    )
    t.match(
      (await request(`${url}/rooms/${room}/messages`, { headers: asAdmin })).body,
      { head: 2 },
      'nothing is forged'
    )
    await chat.shows('forged')
    t.same(await chat.texts(), ['her own', 'forged'], 'the one of its own origin')
  }
)
