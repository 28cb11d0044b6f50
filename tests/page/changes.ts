// Editing and deleting in a real Chromium: what a person does to a message shows in every tab, in
// pages that are loaded later, and far back in the history.
import t, { type Test } from 'tap'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName, post, postMany, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const { url } = await startService(t, { redisNodes: (await startCluster(t)).urls })
const browser = await openChromium(t)

async function asAnn(t: Test, room: string): Promise<ChatPage> {
  const chat = await ChatPage.enter(t, browser, url, room)
  await chat.page.fill('#user', 'ann')
  await chat.page.press('#user', 'Tab')
  await chat.open()
  return chat
}

/** The text of a row, and how it is marked. */
const rowOf = (chat: ChatPage, seq: number): Promise<string> =>
  chat.page.evaluate(`(() => {
    const row = document.querySelector('#list > li[data-seq="${seq}"]')
    if (row === null) return 'no row'
    const text = (row.querySelector('.text') ?? row.querySelector('p:not(.line)')).textContent
    return text + (row.classList.contains('edited') ? ' [edited]' : '')
  })()`)

async function press(chat: ChatPage, seq: number, button: 'edit' | 'delete'): Promise<void> {
  await chat.page.hover(`#list > li[data-seq="${seq}"] .bubble`)
  await chat.page.click(`#actions .${button}`)
}

t.test(
  'an edited and a deleted message say so in every tab, and in pages loaded later',
  async t => {
    const room = newName()
    const ann = await asAnn(t, room)
    const tab = await ChatPage.visitIn(t, ann.page.context(), url, `?chat_id=${room}`)
    await tab.open()
    const bob = await ChatPage.enter(t, browser, url, room)
    await bob.open()
    for (const text of ['first', 'secnd', 'third']) await ann.send('ann', text)

    await press(ann, 2, 'edit')
    t.equal(await ann.text(), 'secnd', 'the text is in the field')
    await ann.page.fill('#text', 'second')
    await ann.page.press('#text', 'Enter')
    t.equal(await ann.text(), '', 'the field is free again')
    ann.page.once('dialog', dialog => {
      t.match(dialog.message(), '#3')
      void dialog.accept()
    })
    await press(ann, 3, 'delete')
    for (const chat of [ann, tab, bob]) {
      await until('it is changed', async () => (await rowOf(chat, 2)) === 'second [edited]')
      await until('it is deleted', async () => /#3 was deleted/.test(await rowOf(chat, 3)))
      t.equal(await rowOf(chat, 1), 'first')
      t.equal(
        await chat.page.locator('#list > li:visible').count(),
        3,
        'changes have no rows of their own'
      )
      await until(
        'its old text is nowhere, not even in the list of rooms',
        async () => !/secnd|third/.test(await chat.page.content())
      )
    }
    const later = await ChatPage.enter(t, browser, url, room)
    await later.open()
    await until('all is there', async () => (await later.seqs()).length === 5)
    t.equal(await rowOf(later, 2), 'second [edited]')
    t.match(await rowOf(later, 3), /#3 was deleted/)
    await ann.send('ann', 'goes on')
    for (const chat of [ann, tab, bob, later]) {
      await chat.shows('goes on')
      t.equal((await chat.seqs()).at(-1), 6, 'each change has a sequence of its own')
      t.equal(await chat.page.locator('[data-missing]').count(), 0)
    }
  }
)

t.test('Escape cancels an edit, and the draft comes back', async t => {
  const room = newName()
  const ann = await asAnn(t, room)
  await ann.send('ann', 'as it is')
  await ann.page.fill('#text', 'a draft')
  await press(ann, 1, 'edit')
  await ann.page.fill('#text', 'something else')
  await ann.page.press('#text', 'Escape')
  t.equal(await ann.text(), 'a draft')
  const { body } = await request(`${url}/rooms/${room}/messages/1`)
  t.equal(body['text'], 'as it is')
})

t.test('a deletion that the person does not confirm does not happen', async t => {
  const room = newName()
  const ann = await asAnn(t, room)
  await ann.send('ann', 'stays')
  ann.page.once('dialog', dialog => {
    void dialog.dismiss()
  })
  await press(ann, 1, 'delete')
  await ann.send('ann', 'after it')
  await ann.shows('after it')
  t.equal(await rowOf(ann, 1), 'stays')
  t.same(await ann.seqs(), [1, 2])
})

t.test('changes far back in the history are shown there, and move nothing', async t => {
  const room = newName()
  await postMany(url, room, 'ann', 300)
  const chat = await ChatPage.visit(t, browser, url, `?chat_id=${room}&seq=60`)
  await chat.becomes('live')
  await chat.page.waitForSelector('#list > li[data-seq="60"].found')
  const top = await chat.topOf(60)
  const change = async (seq: number, method: string, body?: string): Promise<void> => {
    const { status } = await request(`${url}/rooms/${room}/messages/${seq}`, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body })
    })
    t.equal(status, 200)
  }
  await change(58, 'PATCH', '{"text":"changed while it was looked at"}')
  await change(61, 'DELETE')
  await until('it is changed', async () => /^changed while/.test(await rowOf(chat, 58)))
  await until('it is deleted', async () => /#61 was deleted/.test(await rowOf(chat, 61)))
  t.ok(Math.abs((await chat.topOf(60)) - top) <= 1, 'the row in view did not move')

  // Not loaded yet when they are changed.
  await change(5, 'DELETE')
  await change(6, 'PATCH', '{"text":"changed before it was loaded"}')
  await chat.scrollTo(0)
  await until('they are loaded', async () => (await chat.seqs()).includes(5))
  t.match(await rowOf(chat, 5), /#5 was deleted/)
  t.equal(await rowOf(chat, 6), 'changed before it was loaded [edited]')
})

t.test('a refused change says why, and the message stays as it is', async t => {
  const room = newName()
  await post(url, room, 'ann', 'hers')
  const ann = await asAnn(t, room)
  await ann.shows('hers')
  await press(ann, 1, 'edit')
  await ann.page.fill('#text', 'x'.repeat(5000))
  await ann.page.press('#text', 'Enter')
  await until('it says why', async () => /4096|4,096/.test(await ann.notice()))
  t.equal(await rowOf(ann, 1), 'hers')
})
