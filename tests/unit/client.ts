// The client against servers that misbehave: repeated posts, the order in a room, tokens, silence.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { Dialogs, Refusal, type StreamEvent } from 'dialogs/client'
import { StubService } from '../support/stub-service.js'

type Answer = (request: IncomingMessage, response: ServerResponse, index: number) => void

/** A server that answers each request as the test decides. */
async function serve(
  t: Test,
  answer: Answer
): Promise<{ url: string; requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    answer(request, response, requests.push(request) - 1)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { url: `http://127.0.0.1:${address.port}`, requests }
}

const sse = (response: ServerResponse, text: string): ServerResponse => {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).write(text)
  return response
}
const PING = 'event: ping\ndata: {"heartbeatMs":300}\n\n'
const frame = (seq: number): string =>
  `id: ${seq}-1\ndata: {"room":"a","seq":${seq},"user":"ann","text":"m${seq}","at":"2026-01-01T00:00:00.001Z"}\n\n`
const LIVE = 'id: 1-1\nevent: live\ndata: {"room":"a","head":1}\n\n'

const unavailable = { status: 503, body: { code: 'OVERLOADED', message: 'Later.' } }

t.test('a temporary failure is posted again with the same key, and stored once', async t => {
  const keys = new Set<string | undefined>()
  const stub = await StubService.start(t, ({ index, key }) => {
    keys.add(key)
    return index === 0 ? 'store-and-cut' : index === 1 ? unavailable : 'store'
  })
  const failures: unknown[] = []
  const message = await new Dialogs({ url: stub.url }).post(
    'a/b',
    { user: 'ann', text: 'once' },
    { onRetry: error => failures.push(error) }
  )
  t.match(message, { room: 'a/b', seq: 1, user: 'ann', text: 'once' })
  t.equal(stub.posts, 3)
  t.equal(keys.size, 1)
  t.equal(stub.stored.length, 1)
  t.match(failures, [TypeError, { status: 503, code: 'OVERLOADED' }])
})

t.test('a permanent refusal is thrown at once, and later messages are still posted', async t => {
  const stub = await StubService.start(t, ({ index }) =>
    index === 0 ? { status: 400, body: { code: 'INVALID_TEXT', message: 'Too long.' } } : 'store'
  )
  const dialogs = new Dialogs({ url: stub.url })
  const first = dialogs.post('a', { user: 'ann', text: 'long' })
  const second = dialogs.post('a', { user: 'ann', text: 'short' })
  await t.rejects(first, {
    name: 'Refusal',
    status: 400,
    code: 'INVALID_TEXT',
    message: 'Too long.'
  })
  t.match(await second, { seq: 1, text: 'short' })
  t.equal(stub.posts, 2)
})

t.test('when the time for retries is over, the last failure is thrown', async t => {
  const stub = await StubService.start(t, () => unavailable)
  const dialogs = new Dialogs({ url: stub.url })
  await t.rejects(dialogs.post('a', { user: 'ann', text: 'x' }, { retryMsMax: 100 }), Refusal)
  t.equal(stub.posts, 1)
})

t.test('posts to a room keep their order; another room does not wait for them', async t => {
  let letGo = (): void => {}
  const held = new Promise<void>(resolve => {
    letGo = resolve
  })
  const stub = await StubService.start(t, async ({ path }) => {
    if (path.startsWith('/rooms/slow/')) await held
    return 'store' as const
  })
  const dialogs = new Dialogs({ url: stub.url })
  const slow = [1, 2, 3].map(n => dialogs.post('slow', { user: 'ann', text: `m${n}` }))
  await dialogs.post('quick', { user: 'ann', text: 'q' })
  t.equal(stub.posts, 2, 'one of the slow room is on its way, and the quick one')
  letGo()
  t.same(
    (await Promise.all(slow)).map(({ seq, text }) => [seq, text]),
    [
      [1, 'm1'],
      [2, 'm2'],
      [3, 'm3']
    ]
  )
})

/** A service that stores nothing before `letGo` is called. */
async function heldService(t: Test): Promise<{ stub: StubService; letGo: () => void }> {
  let letGo = (): void => {}
  const held = new Promise<void>(resolve => {
    letGo = resolve
  })
  const stub = await StubService.start(t, async () => {
    await held
    return 'store' as const
  })
  return { stub, letGo }
}

t.test('a message that waits behind another is given up at once, and is not sent', async t => {
  const { stub, letGo } = await heldService(t)
  const dialogs = new Dialogs({ url: stub.url })
  const abort = new AbortController()
  const first = dialogs.post('a', { user: 'ann', text: 'first' })
  const second = dialogs.post('a', { user: 'ann', text: 'second' }, { signal: abort.signal })
  const third = dialogs.post('a', { user: 'ann', text: 'third' })
  abort.abort(new Error('changed my mind'))
  await t.rejects(second, /changed my mind/)
  await t.rejects(
    dialogs.post('a', { user: 'ann', text: 'fourth' }, { signal: abort.signal }),
    /changed my mind/,
    'nor is one whose signal has been aborted before'
  )
  t.equal(stub.stored.length, 0, 'while the first is still on its way')
  letGo()
  await Promise.all([first, third])
  t.same(
    stub.stored.map(({ text }) => text),
    ['first', 'third']
  )
})

t.test('a wrong address and a name that no path can hold are refused at once', async t => {
  for (const url of ['', '/dialogs', 'localhost:8080', '127.0.0.1:8080', 'ws://127.0.0.1']) {
    t.throws(() => new Dialogs({ url }), /must begin with http/, url)
  }
  const stub = await StubService.start(t)
  for (const room of ['.', '..']) {
    const refusal = { status: 400, code: 'INVALID_NAME' }
    await t.rejects(new Dialogs({ url: stub.url }).post(room, { user: 'ann', text: 'x' }), refusal)
    await t.rejects(new Dialogs({ url: stub.url }).deleteRoom(room), refusal)
  }
  t.equal(stub.posts, 0)
  for (const path of ['', '/', '//', '?a=b', '/#a']) {
    const dialogs = new Dialogs({ url: `${stub.url}${path}` })
    t.match(await dialogs.post('...', { user: 'ann', text: 'x' }), { room: '...' }, path)
  }
})

t.test('a thousand messages may wait in a room, and the next one is refused', async t => {
  const { stub, letGo } = await heldService(t)
  const dialogs = new Dialogs({ url: stub.url })
  const posts = Array.from({ length: 1000 }, () => dialogs.post('a', { user: 'ann', text: 'x' }))
  await t.rejects(dialogs.post('a', { user: 'ann', text: 'one more' }), /1000 messages/)
  letGo()
  await Promise.all(posts)
  t.match(await dialogs.post('a', { user: 'ann', text: 'again' }), { seq: 1001 })
})

t.test('a token is asked for once, and again when it has expired', async t => {
  const { url, requests } = await serve(t, (request, response) => {
    const isGood = request.headers.authorization === 'Bearer t2'
    response
      .writeHead(isGood ? 200 : 401, { 'content-type': 'application/json' })
      .end(JSON.stringify(isGood ? { room: 'a', head: 0, messages: [] } : { code: 'X' }))
  })
  let count = 0
  const dialogs = new Dialogs({ url, token: async () => `t${++count}` })
  t.same(await dialogs.messages('a'), { room: 'a', head: 0, messages: [] })
  await dialogs.messages('a')
  t.equal(count, 2)
  t.equal(requests.length, 3)
  await t.rejects(new Dialogs({ url, token: 'fixed' }).messages('a'), Refusal)
})

t.test(
  'silence is reported within 4/3 heartbeats, and the stream resumes after what it had',
  async t => {
    const { url, requests } = await serve(t, (_request, response, index) => {
      if (index === 0) sse(response, PING + frame(1) + LIVE)
      else sse(response, PING + frame(2))
    })
    const startedAt = performance.now()
    const events: StreamEvent[] = []
    for await (const event of new Dialogs({ url }).stream('a')) {
      events.push(event)
      if (event.type === 'down') t.ok(performance.now() - startedAt < 600, 'within two heartbeats')
      if (event.type === 'message' && event.message.seq === 2) break
    }
    t.match(events, [
      { type: 'open' },
      { type: 'message', cursor: '1-1', message: { seq: 1, text: 'm1' } },
      { type: 'live', head: 1 },
      { type: 'down', error: { name: 'Silence' } },
      { type: 'open' },
      { type: 'message', cursor: '2-1' }
    ])
    t.equal(requests[1]?.url, '/events?room=a&after=1-1')
  }
)

t.test('while the caller does not read, silence is not counted', async t => {
  const { url, requests } = await serve(t, (_request, response) => sse(response, PING + frame(1)))
  const stream = new Dialogs({ url }).stream('a')
  t.match((await stream.next()).value, { type: 'open' })
  // Longer than the heartbeat allows. There is no condition to wait for, only time to pass.
  await new Promise(resolve => setTimeout(resolve, 700))
  t.match((await stream.next()).value, { type: 'message' })
  t.equal(requests.length, 1)
  await stream.return()
})

t.test('an expired token is renewed where it can be, and otherwise ends the stream', async t => {
  const expire = (response: ServerResponse): void => {
    sse(response, `${PING}event: expired\ndata: {}\n\n`).end()
  }
  const { url, requests } = await serve(t, (request, response) => {
    if (request.headers.authorization === 'Bearer t2') sse(response, PING + frame(1))
    else expire(response)
  })
  let count = 0
  for await (const event of new Dialogs({ url, token: () => `t${++count}` }).stream('a')) {
    if (event.type === 'message') break
  }
  t.same(
    requests.map(({ headers }) => headers.authorization),
    ['Bearer t1', 'Bearer t2']
  )
  const types: string[] = []
  for await (const { type } of new Dialogs({ url, token: 't1' }).stream('a')) types.push(type)
  t.same(types, ['open', 'expired'])
})

t.test('a temporary refusal is retried, a permanent one is thrown', async t => {
  const { url } = await serve(t, (_request, response, index) => {
    if (index === 0) response.writeHead(503).end('a proxy')
    else if (index === 1) sse(response, 'retry: 1\n\n').end()
    else if (index === 2) sse(response, PING + frame(1)).end()
    else response.writeHead(403).end('{"code":"FORBIDDEN","message":"No."}')
  })
  const types: string[] = []
  const read = async (): Promise<void> => {
    for await (const { type } of new Dialogs({ url }).stream('a')) types.push(type)
  }
  await t.rejects(read(), { status: 403, code: 'FORBIDDEN', message: 'No.' })
  t.same(types, ['down', 'down', 'open', 'message', 'down'])
})

t.test('changes, signals, losses and resets are reported; unknown events are skipped', async t => {
  const at = '2026-01-01T00:00:00.001Z'
  const { url } = await serve(t, (_request, response) =>
    sse(
      response,
      [
        PING,
        'id: 2\nevent: lost\ndata: {"room":"a","seq":2,"lost":true}\n\n',
        `id: 3-1\nevent: changed\ndata: {"room":"a","seq":3,"changes":1,"text":"new","at":"${at}"}\n\n`,
        `id: 4-1\nevent: changed\ndata: {"room":"a","seq":4,"changes":1,"deleted":true,"at":"${at}"}\n\n`,
        `id: 4-2\nevent: deleted\ndata: {"room":"a","seq":4,"deleted":true,"at":"${at}"}\n\n`,
        'event: signal\ndata: {"room":"a","user":"bob","kind":"typing","data":{}}\n\n',
        'id: 5\nevent: later-version\ndata: {"room":"a"}\n\n',
        'id: 0\nevent: reset\ndata: {"room":"a","reason":"rewound","head":0}\n\n'
      ].join('')
    )
  )
  const events: StreamEvent[] = []
  for await (const event of new Dialogs({ url }).stream('a')) {
    events.push(event)
    if (event.type === 'reset') break
  }
  t.match(events, [
    { type: 'open' },
    { type: 'lost', seq: 2, cursor: '2' },
    { type: 'changed', change: { changes: 1, text: 'new' } },
    { type: 'changed', change: { changes: 1, deleted: true } },
    { type: 'deleted', message: { seq: 4, deleted: true } },
    { type: 'signal', user: 'bob', kind: 'typing' },
    { type: 'reset', reason: 'rewound', cursor: '0' }
  ])
})

t.test('when the right to a room ends, the stream says so and continues without it', async t => {
  const { url, requests } = await serve(t, (_request, response, index) => {
    const room = index === 0 ? 'b' : 'a'
    sse(response, `${PING}event: removed\ndata: {"room":"${room}"}\n\n`).end()
  })
  const events: StreamEvent[] = []
  for await (const event of new Dialogs({ url }).stream(['a', 'b'])) events.push(event)
  t.match(
    events.filter(({ type }) => type === 'removed'),
    [
      { type: 'removed', room: 'b' },
      { type: 'removed', room: 'a' }
    ]
  )
  t.same(
    requests.map(({ url }) => url),
    ['/events?room=a&room=b', '/events?room=a']
  )
})

t.test('an inbox gives the state of each dialog, and resumes after it', async t => {
  const dialog = { room: 'a', head: 3, read: 1, unread: 2, last: null }
  const { url, requests } = await serve(t, (_request, response, index) => {
    const room = `id: 7\nevent: room\ndata: ${JSON.stringify(dialog)}\n\n`
    const live = 'id: 8\nevent: live\ndata: {"user":"ann","rooms":["a"],"complete":true}\n\n'
    if (index === 0) sse(response, PING + room + live).end()
    else sse(response, `${PING}id: 9\nevent: left\ndata: {"room":"a"}\n\n`)
  })
  const events: unknown[] = []
  for await (const event of new Dialogs({ url }).inbox('ann')) {
    events.push(event)
    if (event.type === 'left') break
  }
  t.match(events, [
    { type: 'open' },
    { type: 'room', dialog, cursor: '7' },
    { type: 'live', rooms: ['a'], isComplete: true, cursor: '8' },
    { type: 'down' },
    { type: 'open' },
    { type: 'left', room: 'a' }
  ])
  t.same(
    requests.map(({ url }) => url),
    ['/users/ann/events', '/users/ann/events?after=8']
  )
})

t.test('the last message of a dialog is a message, a deleted or a lost one, or none', async t => {
  const at = '2026-01-01T00:00:00.000Z'
  const lasts = [
    { room: 'a', seq: 3, user: 'ann', text: 'hello', at },
    { room: 'a', seq: 3, deleted: true, at },
    { room: 'a', seq: 3, lost: true },
    null
  ]
  const rooms = lasts.map(last => ({ room: 'a', head: 3, read: 1, unread: 2, last }))
  const { url } = await serve(t, (_request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ rooms, next: null }))
  })
  t.same(await new Dialogs({ url }).rooms('ann'), { rooms, next: null })
})

t.test('the abort signal ends a waiting stream, and the pause between two attempts', async t => {
  const { url } = await serve(t, (_request, response, index) => {
    if (index === 0) sse(response, PING)
    else response.writeHead(503, { 'retry-after': '60' }).end()
  })
  for (const wanted of ['open', 'down']) {
    const controller = new AbortController()
    const types: string[] = []
    for await (const { type } of new Dialogs({ url }).stream('a', { signal: controller.signal })) {
      types.push(type)
      if (type === wanted) setImmediate(() => controller.abort())
    }
    t.equal(types.at(-1), wanted)
  }
})
