// What a person sees while the service cannot read everything: the shard of a room and of its
// people answers nobody, in a real Chromium.
import t from 'tap'
import { roomSlot, userSlot } from '../../src/store/keys.js'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { freshRoom, post } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const SHARDS = 3
const SLOTS = 16_384

const cluster = await startCluster(t)
const { url } = await startService(t, { redisNodes: cluster.urls })
const browser = await openChromium(t)

/** A name whose slot is on the first shard, or on another one. */
function nameOn(isFirst: boolean, slotOf: (name: string) => number): string {
  for (;;) {
    const name = freshRoom()
    if (slotOf(name) < SLOTS / SHARDS === isFirst) return name
  }
}

t.test(
  'a room and a list of dialogs that may be out of date say so until they are not',
  async t => {
    const [silent, other] = [nameOn(true, roomSlot), nameOn(false, roomSlot)]
    const user = nameOn(false, userSlot)
    for (const room of [silent, other]) await post(url, room, user, 'before')
    const chat = await ChatPage.enter(t, browser, url, silent)
    await chat.page.fill('#user', user)
    await chat.page.press('#user', 'Tab')
    await chat.open()
    const listState = (): Promise<string> => chat.page.innerText('#rooms-state')
    await until(
      'both dialogs are listed',
      async () => (await chat.page.locator('#rooms > li').count()) === 2
    )
    t.equal(await listState(), '')

    // A master, and the replica that follows it: nobody can take over.
    const nodes = cluster.nodes.filter((_, index) => index % SHARDS === 0)
    const goOn = async (): Promise<void> => {
      for (const node of nodes) await node.kill('SIGCONT')
    }
    t.teardown(goOn)
    for (const node of nodes) await node.kill('SIGSTOP')
    await until('the list says so', async () => (await listState()) === 'Connecting…', 60_000)
    await until('so does the room', async () => (await chat.page.innerText('#state')) !== 'Live')
    t.equal(await chat.page.innerText('#state'), 'Connecting…')
    const late = await ChatPage.visitIn(t, chat.page.context(), url, `?chat_id=${other}`)
    await until(
      'a tab that is opened now says so as well',
      async () => (await late.page.innerText('#rooms-state')) === 'Connecting…'
    )

    await goOn()
    await until('it can be written to again', async () => {
      const { status } = await post(url, silent, 'bob', 'after')
      return status === 201
    })
    await chat.becomes('live')
    await chat.shows('after')
    for (const tab of [chat, late]) {
      await until(
        'the list is right again',
        async () => (await tab.page.innerText('#rooms-state')) === ''
      )
    }
    t.same(await chat.texts(), ['before', 'after'])
  }
)
