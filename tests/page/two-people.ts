// Two people in two browsers, one of them on a bad network, while the service ends in every way and
// slots move. Both see the same messages, once and in order, and every message that was typed is
// stored once. TWO_PEOPLE_OFFLINE_MS=120000 turns the network off for two minutes; by default it is
// 8 s.
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { readAll, request } from '../support/client.js'
import { runCluster } from '../support/cluster-command.js'
import { startCluster } from '../support/embedded.js'
import { Relay } from '../support/relay.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const OFFLINE_MS = Number(process.env['TWO_PEOPLE_OFFLINE_MS'] ?? 8000)
const DELAY_MS = 120
/** The number of messages that each person types in each part. */
const TYPED = 3

const cluster = await startCluster(t)
const service = await startService(t, {
  redisNodes: cluster.urls,
  env: { HEARTBEAT_MS: '2000', RETRY_MS: '200' }
})
const relay = await Relay.start(t, service.url)
const browser = await openChromium(t)
const env = { REDIS_NODES: cluster.urls.join(',') }

async function type(chat: ChatPage, text: string): Promise<void> {
  await chat.page.focus('#text')
  await chat.page.keyboard.insertText(text)
  await chat.page.keyboard.press('Enter')
}

async function moveSlots(t: Parameters<typeof runCluster>[0]): Promise<void> {
  const { body } = await request(`${service.url}/cluster`)
  // ClusterAnswer in src/routes: each shard with its slots.
  const [from, to] = body['shards'] as Array<{ id: string; slots: Array<[number, number]> }>
  const [first = 0] = from?.slots[0] ?? []
  const { status } = await runCluster(
    t,
    env,
    ...['reshard', '--from', from?.id ?? '', '--to', to?.id ?? ''],
    ...['--slots', `${first}-${first + 299}`, '--yes']
  )
  t.equal(status, 0, 'the slots have moved')
}

t.test(
  'two people see the same, whatever happens to the network, the service and the slots',
  async t => {
    const room = `n${randomUUID().slice(0, 13)}`
    const ann = await ChatPage.enter(t, browser, service.url, room)
    const bob = await ChatPage.enter(t, browser, relay.url, room)
    const people = [
      ['ann', ann],
      ['bob', bob]
    ] as const
    const typed: { [user: string]: string[] } = { ann: [], bob: [] }
    for (const [user, chat] of people) {
      await chat.page.fill('#user', user)
      await chat.page.press('#user', 'Tab')
      await chat.open()
    }
    const talk = async (what: string): Promise<void> => {
      for (let n = 1; n <= TYPED; n++) {
        for (const [user, chat] of people) {
          const text = `${user}, ${what}, ${n}`
          typed[user]?.push(text)
          await type(chat, text)
        }
      }
    }
    const isCalm = async (what: string): Promise<void> => {
      for (const [user, chat] of people) {
        await chat.page.waitForSelector('#state[data-state="live"]', { timeout: 60_000 })
        await chat.hasSentAll(60_000)
        t.pass(`${user} is live again, and has sent everything: ${what}`)
      }
    }

    await talk('in peace')
    relay.slowDown(DELAY_MS)
    await talk('on a slow network')
    await isCalm('slow')

    relay.swallowOpen()
    await talk('while packets are lost')
    await isCalm('lost packets')

    relay.cut()
    await talk('while connections are cut')
    await isCalm('cut')

    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const ended = service.end(signal)
      await talk(`without a service, ${signal}`)
      await ended
      await service.start()
      await isCalm(signal)
    }

    const moved = moveSlots(t)
    await talk('while slots move')
    await moved
    await isCalm('moved')

    relay.swallowAll()
    const offlineSince = performance.now()
    await talk('while the network is away')
    await until(
      'the network was away for long enough',
      () => performance.now() - offlineSince >= OFFLINE_MS,
      OFFLINE_MS + 10_000
    )
    t.not(await bob.page.getAttribute('#state', 'data-state'), 'live', 'the page says so')
    relay.heal()
    await isCalm('back again')
    await talk('in the end')
    await isCalm('the end')

    const stored = await readAll(service.url, room)
    const count = Object.values(typed).flat().length
    t.equal(stored.length, count, 'as many messages as were typed')
    for (const [user, chat] of people) {
      const own = stored.filter(message => message['user'] === user)
      t.same(
        own.map(message => message['text']),
        typed[user],
        `each message of ${user} is stored once, in the order of typing`
      )
      await until('the page shows all messages', async () => (await chat.seqs()).length === count)
      t.same(
        await chat.lines(),
        stored.map(({ user, text }) => `${String(user)}: ${String(text)}`),
        `${user}'s page shows what is stored, in order`
      )
      t.equal(await chat.page.locator('[data-missing]').count(), 0)
      t.same(await chat.pending(), [])
    }
  }
)
