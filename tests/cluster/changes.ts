// Changing and deleting messages, through two processes. A change is announced in the room's order,
// pages then show the message as it is now, and a deleted text remains nowhere.
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { freshRoom, post, readAll, request, sequence, type Answer } from '../support/client.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'

const cluster = await startCluster(t)
const env = { SEGMENT_LENGTH: '16', BLOCK_LENGTH: '10' }
const services = await Promise.all([
  startService(t, { redisNodes: cluster.urls, env }),
  startService(t, { redisNodes: cluster.urls, env })
])
const [one, two] = services.map(({ url }) => url) as [string, string]

type More = { readonly user?: string; readonly once?: string }
const headersOf = ({ once }: More): Record<string, string> =>
  once === undefined ? {} : { 'idempotency-key': once }
const pathOf = (room: string, seq: number): string =>
  `/rooms/${encodeURIComponent(room)}/messages/${seq}`

const change = (
  url: string,
  room: string,
  seq: number,
  text: string,
  more: More = {}
): Promise<Answer> =>
  request(url + pathOf(room, seq), {
    method: 'PATCH',
    headers: { 'content-type': 'application/json', ...headersOf(more) },
    body: JSON.stringify({ text, ...(more.user === undefined ? {} : { user: more.user }) })
  })

const remove = (url: string, room: string, seq: number, more: More = {}): Promise<Answer> =>
  request(url + pathOf(room, seq) + (more.user === undefined ? '' : `?user=${more.user}`), {
    method: 'DELETE',
    headers: headersOf(more)
  })

t.test('a change is announced in the order, and pages show the message as it is now', async t => {
  const room = freshRoom()
  const live = openSse(t, `${two}/rooms/${room}/events`)
  await live.isLive()
  await post(one, room, 'ann', 'helo')
  await post(two, room, 'bob', 'hi')
  const answer = await change(one, room, 1, 'hello')
  t.match(answer, { status: 200, body: { room, seq: 3, changes: 1, text: 'hello' } })
  await post(two, room, 'bob', 'how are you?')
  await live.sees('all', events => events.length === 5)
  t.strictSame(
    live.events.slice(1).map(({ event, data }) => [event, data['seq'], data['text']]),
    [
      ['message', 1, 'helo'],
      ['message', 2, 'hi'],
      ['changed', 3, 'hello'],
      ['message', 4, 'how are you?']
    ]
  )
  t.match(live.events[3], { id: /^3-\d+$/, data: { ...answer.body } })

  const page = await readAll(two, room)
  t.match(page, [
    { seq: 1, user: 'ann', text: 'hello', changed: answer.body['at'] },
    { seq: 2, text: 'hi' },
    { seq: 3, changes: 1, text: 'hello' },
    { seq: 4 }
  ])
  t.notMatch(page[1], { changed: /./ })
  for (const url of [one, two]) {
    t.match(await request(url + pathOf(room, 1)), { status: 200, body: { text: 'hello' } })
    t.match(await request(url + pathOf(room, 3)), { status: 200, body: { changes: 1 } })
    const replay = openSse(t, `${url}/rooms/${room}/events`)
    await replay.isLive()
    t.strictSame(
      replay.events.slice(0, 4).map(({ event, data }) => [event, data['text']]),
      [
        ['message', 'hello'],
        ['message', 'hi'],
        ['changed', 'hello'],
        ['message', 'how are you?']
      ]
    )
    const resumed = openSse(t, `${url}/rooms/${room}/events?after=${live.events[2]?.id}`)
    await resumed.isLive()
    t.strictSame(
      resumed.events.map(({ event }) => event),
      ['changed', 'message', 'live']
    )
  }
  const { body } = await request(`${one}/rooms/${room}/users`)
  t.match(body, {
    users: [
      { user: 'bob', messages: 2 },
      { user: 'ann', messages: 1 }
    ]
  })
})

t.test('a deleted text is in no answer, no stream and no key of any node', async t => {
  const room = freshRoom()
  const secret = `secret ${randomUUID()}`
  const reader = openSse(t, `${two}/rooms/${room}/events`)
  await reader.isLive()
  await post(one, room, 'ann', 'before')
  await post(one, room, 'ann', secret, { 'idempotency-key': 'k1' })
  await post(one, room, 'ann', 'after')
  await change(two, room, 2, `${secret}, changed`)
  await reader.sees('the change', events => events.length === 5)
  const deletion = await remove(one, room, 2)
  t.match(deletion, { status: 200, body: { room, seq: 5, changes: 2, deleted: true } })
  await reader.sees('the deletion', events => events.length === 6)
  t.match(reader.events.at(-1), { event: 'changed', data: { changes: 2, deleted: true } })

  t.notOk((await everythingIn(cluster)).includes(secret), 'in Redis')
  for (const url of [one, two]) {
    const replay = openSse(t, `${url}/rooms/${room}/events`)
    const combined = openSse(t, `${url}/events?room=${room}`)
    await Promise.all([replay.isLive(), combined.isLive()])
    for (const { text, events } of [replay, combined]) {
      t.notOk(text.includes(secret))
      t.strictSame(
        events.map(({ event }) => event),
        ['message', 'deleted', 'message', 'changed', 'changed', 'live']
      )
      t.match(events[1], { data: { room, seq: 2, deleted: true } })
      t.match(
        events[3],
        { data: { changes: 2, deleted: true } },
        'the change does not contain it either'
      )
    }
    const page = await readAll(url, room)
    t.strictSame(
      page.map(({ seq }) => seq),
      sequence(1, 5)
    )
    t.notOk(JSON.stringify(page).includes(secret))
    t.notMatch(page[1], { user: /./ })
    t.match(await request(url + pathOf(room, 2)), {
      status: 410,
      body: { code: 'MESSAGE_DELETED' }
    })
  }
  t.match(
    await post(two, room, 'ann', secret, { 'idempotency-key': 'k1' }),
    { status: 410, body: { code: 'MESSAGE_DELETED' } },
    'repeating its POST does not bring it back'
  )
  t.match(await remove(two, room, 2), { status: 410, body: { code: 'MESSAGE_DELETED' } })
  t.match(await change(two, room, 2, 'again'), { status: 410, body: { code: 'MESSAGE_DELETED' } })
  t.match(await request(`${one}/rooms/${room}/messages`), { body: { head: 5 } })
})

t.test('a change that is impossible is refused with the reason', async t => {
  const room = freshRoom()
  t.match(await change(one, room, 1, 'x'), { status: 404, body: { code: 'MESSAGE_NOT_FOUND' } })
  await post(one, room, 'ann', 'hello')
  await change(one, room, 1, 'hello!')
  t.match(await change(one, room, 2, 'x'), { status: 409, body: { code: 'NOT_A_MESSAGE' } })
  t.match(await remove(one, room, 2), { status: 409, body: { code: 'NOT_A_MESSAGE' } })
  t.match(await remove(one, room, 3), { status: 404, body: { code: 'MESSAGE_NOT_FOUND' } })
  t.match(await remove(one, room, 1, { user: 'bob' }), { status: 403 }, 'another author')
  t.match(await change(one, room, 1, 'x', { user: 'bob' }), { status: 403 })
  t.match(await change(one, room, 1, ' '), { status: 400, body: { code: 'INVALID_TEXT' } })
  t.match(await request(`${one}/rooms/${room}/messages/0`, { method: 'DELETE' }), { status: 400 })
  t.match(await change(one, room, 1, 'by its author', { user: 'ann' }), { status: 200 })
})

t.test('with a key, a change happens once, whichever process gets the request', async t => {
  const room = freshRoom()
  await post(one, room, 'ann', 'hello', { 'idempotency-key': 'post' })
  await post(one, room, 'ann', 'second')
  const answers = await Promise.all(
    sequence(1, 8).map(n => change(n % 2 === 0 ? one : two, room, 1, 'once', { once: 'k' }))
  )
  t.strictSame(new Set(answers.map(({ status, body }) => `${status} ${body['seq']}`)).size, 1)
  t.match(await request(`${one}/rooms/${room}/messages`), { body: { head: 3 } })
  for (const conflict of [
    change(one, room, 2, 'x', { once: 'k' }),
    remove(one, room, 1, { once: 'k' }),
    remove(one, room, 1, { once: 'post' }),
    post(one, room, 'ann', 'once', { 'idempotency-key': 'k' })
  ]) {
    t.match(await conflict, { status: 409, body: { code: 'IDEMPOTENCY_CONFLICT' } })
  }
  const deletions = await Promise.all(
    sequence(1, 4).map(n => remove(n % 2 === 0 ? one : two, room, 1, { once: 'd' }))
  )
  t.ok(deletions.every(({ status, body }) => status === 200 && body['seq'] === 4))
  t.equal((await remove(two, room, 1, { once: 'd' })).status, 200, 'and later')
  t.match(await request(`${one}/rooms/${room}/messages`), { body: { head: 4 } })
  t.match(await post(one, room, 'ann', 'hello', { 'idempotency-key': 'post' }), { status: 410 })
})

t.test('concurrent changes are all announced, and the last one remains', async t => {
  const room = freshRoom()
  await post(one, room, 'ann', '0')
  const answers = await Promise.all(
    sequence(1, 20).map(n =>
      n === 10 ? remove(one, room, 1) : change(n % 2 === 0 ? one : two, room, 1, `${n}`)
    )
  )
  const done = answers.filter(({ status }) => status === 200)
  t.ok(answers.every(({ status }) => status === 200 || status === 410))
  const page = await readAll(one, room)
  t.equal(page.length, 1 + done.length)
  t.match(page[0], { deleted: true }, 'every change after the deletion was refused')
  t.ok(
    page.every(entry => !('text' in entry)),
    'none of its texts is left'
  )
})

t.test(
  'after concurrent changes a live reader shows what is stored, and no deleted text came back',
  async t => {
    const room = freshRoom()
    const live = openSse(t, `${two}/rooms/${room}/events`)
    await live.isLive()
    // Two processes may announce the changes that they applied in either order.
    const rounds = sequence(1, 15)
    for (const seq of rounds) await post(one, room, 'ann', `${seq}`)
    const changed = await Promise.all(
      rounds.flatMap(seq =>
        sequence(1, 6).map(n => {
          const url = n % 2 === 0 ? one : two
          return seq % 3 === 0 && n > 4
            ? remove(url, room, seq)
            : change(url, room, seq, `${seq} ${n}`)
        })
      )
    )
    // Concurrent deletions may share one entry.
    const told = new Set(
      changed.filter(({ status }) => status === 200).map(({ body }) => body['seq'])
    )
    t.ok(changed.every(({ status }) => status === 200 || status === 410))
    await live.sees('every change', events => events.length === 1 + rounds.length + told.size)
    const shown = new Map<unknown, unknown>()
    for (const { event, data } of live.events) {
      if (event === 'live') continue
      const seq = event === 'changed' ? data['changes'] : data['seq']
      t.notOk(
        shown.has(seq) && shown.get(seq) === undefined && 'text' in data,
        `${String(seq)} is back`
      )
      shown.set(seq, data['text'])
    }
    const page = await readAll(one, room)
    for (const { seq, text } of page.slice(0, rounds.length)) {
      t.equal(shown.get(seq), text, `message ${seq}`)
    }
  }
)

t.test(
  "a dialog's last message is found before more changes than the log's tail holds",
  async t => {
    const room = freshRoom()
    await post(one, room, 'ann', 'hello')
    for (const n of sequence(1, 40)) await change(one, room, 1, `hello ${n}`)
    t.match(await request(`${two}/users/ann/rooms?limit=1`), {
      body: { rooms: [{ room, head: 41, unread: 0, last: { seq: 1, text: 'hello 40' } }] }
    })
  }
)

// The model: what each sequence shows.
type Shown = { text?: string; user?: string; deleted?: true; changes?: number }
const steps = fc.array(
  fc.record({
    kind: fc.constantFrom('post', 'post', 'post', 'change', 'change', 'delete', 'read'),
    service: fc.constantFrom(one, two),
    user: fc.constantFrom('ann', 'bob', 'c.1~2.3.4d'),
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    isKeyed: fc.boolean()
  }),
  { minLength: 10, maxLength: 60 }
)

t.test('whatever is posted, changed and deleted, pages and streams equal the model', async t => {
  await fc.assert(
    fc.asyncProperty(steps, async steps => {
      const room = freshRoom()
      const model: Shown[] = []
      const gone: string[] = []
      const live = openSse(t, `${two}/rooms/${room}/events`)
      await live.isLive()
      for (const [n, { kind, service, user, at, isKeyed }] of steps.entries()) {
        const seq = 1 + Math.floor(at * Math.max(1, model.length))
        const text = `${room} text ${n}.`
        const once = isKeyed ? { once: `k${n}` } : {}
        const target = model[seq - 1]
        const canChange = target?.changes === undefined && target?.text !== undefined
        if (kind === 'post') {
          await post(service, room, user, text, headersOf(once))
          model.push({ user, text })
        } else if (kind === 'read') {
          const page = await readAll(service, room)
          t.match(page, model)
          if (JSON.stringify(page.map(shownOf)) !== JSON.stringify(model.map(shownOf))) return false
        } else {
          const { status } =
            kind === 'change'
              ? await change(service, room, seq, text, once)
              : await remove(service, room, seq, once)
          if ((status === 200) !== canChange) return false
          if (!canChange || target.text === undefined) continue
          gone.push(target.text)
          const shown: Shown = kind === 'change' ? { ...target, text } : { deleted: true }
          model[seq - 1] = shown
          for (const [index, { changes }] of model.entries()) {
            // An announced change shows what the message says now; a deletion stays a deletion.
            if (changes !== seq) continue
            model[index] =
              shown.text === undefined ? { changes, deleted: true } : { changes, text: shown.text }
          }
          model.push(
            shown.text === undefined
              ? { changes: seq, deleted: true }
              : { changes: seq, text: shown.text }
          )
        }
      }
      const expected = JSON.stringify(model.map(shownOf))
      for (const url of [one, two]) {
        const replay = openSse(t, `${url}/rooms/${room}/events`)
        await replay.isLive()
        const shown = replay.events.slice(0, -1).map(({ data }) => shownOf(data as Shown))
        const texts = JSON.stringify(await readAll(url, room)) + replay.text
        if (JSON.stringify(shown) !== expected || gone.some(text => texts.includes(text))) {
          return false
        }
      }
      await live.sees('everything', events => events.length === model.length + 1)
      const order = live.events.slice(1).map(({ data }) => data['seq'])
      return JSON.stringify(order) === JSON.stringify(sequence(1, model.length))
    }),
    { numRuns: 15 }
  )
})

const shownOf = ({ user, text, deleted, changes }: Shown): Shown => ({
  ...(user === undefined ? {} : { user }),
  ...(text === undefined ? {} : { text }),
  ...(deleted === undefined ? {} : { deleted }),
  ...(changes === undefined ? {} : { changes })
})
