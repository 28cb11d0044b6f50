import t, { type Test } from 'tap'
import { crowd } from '../../src/cli/crowd.js'
import { type Acknowledged, type Failed, Load, type LoadOptions } from '../../src/cli/load.js'
import { type Behaviour, StubService } from '../support/stub-service.js'
import { until } from '../support/until.js'

const OVERLOADED: Behaviour = {
  status: 503,
  body: { statusCode: 503, code: 'OVERLOADED', message: 'Try again later.' }
}

t.test(
  'every message is acknowledged once, with the sequence that the service assigned',
  async t => {
    const stub = await StubService.start(t)
    const { load, acknowledged, failed } = start(t, stub, { connections: 8, count: 500 })
    await load.run()
    t.equal(load.sent, 500)
    t.strictSame(failed, [])
    t.strictSame(
      acknowledged.map(({ index }) => index).sort((a, b) => a - b),
      Array.from({ length: 500 }, (_, index) => index)
    )
    for (const { seq, room, user, text, at } of acknowledged) {
      t.strictSame(stub.stored[seq - 1], { room, seq, user, text, at })
    }
  }
)

t.test('no more messages are in flight than there are connections', async t => {
  let onTheirWay = 0
  let most = 0
  const stub = await StubService.start(t, async (): Promise<Behaviour> => {
    most = Math.max(most, ++onTheirWay)
    await new Promise(resolve => setTimeout(resolve, 2))
    onTheirWay--
    return 'store'
  })
  await start(t, stub, { connections: 7, count: 200 }).load.run()
  t.equal(most, 7)
})

t.test('names in any language arrive unchanged', async t => {
  const stub = await StubService.start(t)
  const { load, acknowledged } = start(t, stub, {
    count: 1,
    compose: () => ({ room: 'a/b?c=%41 ü 語', user: 'Zoë 🦄', text: '"\\\n' })
  })
  await load.run()
  t.match(acknowledged, {
    length: 1,
    0: { room: 'a/b?c=%41 ü 語', user: 'Zoë 🦄', text: '"\\\n', seq: 1 }
  })
})

t.test('the base URL may have a path', async t => {
  const paths: string[] = []
  const stub = await StubService.start(t, ({ path }) => {
    paths.push(path)
    return 'store'
  })
  for (const path of ['', '/', '/chat', '/chat/']) {
    await start(t, { url: stub.url + path }, { count: 1 }).load.run()
  }
  t.strictSame(
    paths,
    ['', '', '/chat', '/chat'].map(path => `${path}/rooms/room123/messages`)
  )
})

t.test(
  'an answer that does not match the message is a failure that says what is wrong',
  async t => {
    const right = {
      room: 'room123',
      seq: 1,
      user: 'lady_gaga',
      text: '#1 the quick brow',
      at: '2025-01-01T00:00:00.000Z'
    }
    const wrongs: Array<[status: number, body: unknown, reason: RegExp]> = [
      [200, right, /status is 200, not 201/],
      [202, right, /status is 202, not 201/],
      [201, { ...right, room: 'room124' }, /room is "room124", not "room123"/],
      [201, { ...right, user: undefined }, /user is undefined, not "lady_gaga"/],
      [201, { ...right, text: right.text + '!' }, /text is/],
      ...[0, -1, 1.5, '1', null, 2 ** 53].map((seq): [number, unknown, RegExp] => [
        201,
        { ...right, seq },
        /seq is .*, not a positive integer/
      ]),
      [201, { ...right, at: 1 }, /at is 1, not a time/],
      [201, null, /room is undefined/],
      [201, [], /room is undefined/]
    ]
    for (const [status, body, reason] of wrongs) {
      const stub = await StubService.start(t, () => ({ status, body }))
      const { load, acknowledged, failed } = start(t, stub, {
        count: 1,
        isIdempotent: true,
        compose: () => ({ room: right.room, user: right.user, text: right.text })
      })
      await load.run()
      t.match(failed, { length: 1, 0: { status, code: 'WRONG_ANSWER', reason, attempts: 1 } })
      t.strictSame(acknowledged, [])
    }
  }
)

t.test('without idempotency keys nothing is sent twice, whatever the answer', async t => {
  const stub = await StubService.start(t, ({ index }) =>
    index % 7 === 0 ? 'store-and-cut' : index % 5 === 0 ? OVERLOADED : 'store'
  )
  const { load, acknowledged, failed } = start(t, stub, { connections: 4, count: 70 })
  await load.run()
  t.equal(stub.posts, 70)
  t.equal(failed.filter(({ status }) => status === undefined).length, 10)
  t.equal(
    failed.filter(
      ({ status, code, reason }) =>
        status === 503 && code === 'OVERLOADED' && reason === 'Try again later.'
    ).length,
    12
  )
  t.equal(acknowledged.length, 48)
})

t.test('with idempotency keys a failed message is sent again, and stored once', async t => {
  const stub = await StubService.start(t, ({ index, isRepeated }) => {
    if (isRepeated && index % 2 === 0) return 'store'
    return index % 7 === 0
      ? 'store-and-cut'
      : index % 6 === 0
        ? 'cut'
        : index % 5 === 0
          ? OVERLOADED
          : 'store'
  })
  const { load, acknowledged, failed } = start(t, stub, {
    connections: 4,
    count: 70,
    isIdempotent: true
  })
  await load.run()
  t.strictSame(failed, [])
  t.equal(acknowledged.length, 70)
  t.equal(stub.stored.length, 70)
  t.equal(
    acknowledged.reduce((sum, { attempts }) => sum + attempts, 0),
    stub.posts
  )
  t.ok(stub.posts > 70)
})

t.test('no two messages or runs use the same key', async t => {
  const keys: Array<string | undefined> = []
  const stub = await StubService.start(t, ({ key }) => {
    keys.push(key)
    return 'store'
  })
  for (let run = 0; run < 2; run++) {
    await start(t, stub, { count: 20, isIdempotent: true }).load.run()
  }
  t.equal(new Set(keys).size, 40)
  t.notOk(keys.includes(undefined))
})

t.test('a permanent refusal is not sent again', async t => {
  const stub = await StubService.start(t, () => ({
    status: 400,
    body: { code: 'INVALID_TEXT', message: 'Shorten it.' }
  }))
  const { load, failed } = start(t, stub, { count: 1, isIdempotent: true })
  await load.run()
  t.equal(stub.posts, 1)
  t.match(failed, {
    length: 1,
    0: { status: 400, code: 'INVALID_TEXT', reason: 'Shorten it.', attempts: 1 }
  })
})

t.test('retries end, and respect the pause that the service asks for', async t => {
  const stub = await StubService.start(t, () => ({
    ...OVERLOADED,
    headers: { 'retry-after': '1' }
  }))
  const { load, failed } = start(t, stub, { count: 1, isIdempotent: true, retryMsMax: 1500 })
  await load.run()
  t.match(failed, { length: 1, 0: { status: 503, code: 'OVERLOADED', attempts: 2 } })
  t.ok(failed[0]!.latencyMs >= 990)
})

t.test("a proxy's page instead of an answer is a failure with that page's status", async t => {
  const stub = await StubService.start(t, () => ({ status: 502, body: '<html>' }))
  const { load, failed } = start(t, stub, { count: 1 })
  await load.run()
  t.match(failed, { length: 1, 0: { status: 502, code: 'NO_CODE' } })
})

t.test('a missing answer is a failure after the time for one attempt', async t => {
  const stub = await StubService.start(t, () => new Promise<Behaviour>(() => {}))
  const { load, failed } = start(t, stub, { count: 1, attemptMsMax: 200 })
  await load.run()
  t.match(failed, { length: 1, 0: { status: undefined, code: 'UND_ERR_HEADERS_TIMEOUT' } })
})

t.test('a service that is down is not called in a tight loop', async t => {
  const { load, failed } = start(
    t,
    { url: 'http://127.0.0.1:1' },
    { connections: 2, durationMs: 300 }
  )
  await load.run()
  t.ok(
    failed.length > 0 && failed.length <= 14,
    `${failed.length} tries in 300 ms on two connections`
  )
  t.ok(failed.every(({ code }) => code === 'ECONNREFUSED'))
})

t.test('a rate is kept: the right number of messages in the time, none of them early', async t => {
  const arrivedMs: number[] = []
  const stub = await StubService.start(t, () => {
    arrivedMs.push(performance.now())
    return 'store'
  })
  // Limited by a count: a machine that is late still sends all of them, and none early.
  const { load, acknowledged } = start(t, stub, { connections: 16, rate: 200, count: 200 })
  const startedMs = performance.now()
  await load.run()
  t.equal(acknowledged.length, 200)
  t.equal(arrivedMs.length, 200)
  for (const [index, ms] of arrivedMs.entries()) {
    t.ok(ms - startedMs >= index * 5 - 2, `message ${index} at ${ms - startedMs}`)
  }
})

t.test(
  'at a rate, the latency of all messages that were due during a stall includes the wait',
  async t => {
    const stub = await StubService.start(t, async ({ index }): Promise<Behaviour> => {
      if (index === 10) await new Promise(resolve => setTimeout(resolve, 500))
      return 'store'
    })
    const { load, acknowledged } = start(t, stub, { connections: 1, rate: 100, count: 50 })
    await load.run()
    // Messages are due every 10 ms, for 490 ms after the one that stalled for 500. If latency
    // counted from sending, only that one would have waited.
    const waited = acknowledged.filter(({ latencyMs }) => latencyMs > 250).length
    t.ok(waited >= 25, `${waited} waited for more than 250 ms`)
  }
)

t.test('messages that were due but not sent in time are counted', async t => {
  const stub = await StubService.start(t, async (): Promise<Behaviour> => {
    await new Promise(resolve => setTimeout(resolve, 50))
    return 'store'
  })
  const { load } = start(t, stub, { connections: 1, rate: 100, durationMs: 500 })
  await load.run()
  t.ok(load.sent <= 12)
  t.equal(load.sent + load.overdue, 50)
})

t.test('without a rate, a duration ends the load', async t => {
  const stub = await StubService.start(t)
  const { load, acknowledged } = start(t, stub, { connections: 4, durationMs: 200 })
  const startedMs = performance.now()
  await load.run()
  t.ok(performance.now() - startedMs >= 195)
  t.equal(acknowledged.length, load.sent)
  t.equal(acknowledged.length, stub.stored.length)
})

t.test('stop starts nothing more, and waits for messages in flight and their retries', async t => {
  let release = (): void => {}
  const released = new Promise<void>(resolve => {
    release = resolve
  })
  const stub = await StubService.start(t, async ({ isRepeated }): Promise<Behaviour> => {
    await released
    return isRepeated ? 'store' : OVERLOADED
  })
  const { load, acknowledged, failed } = start(t, stub, { connections: 3, isIdempotent: true })
  const run = load.run()
  await until('three messages are in flight', () => stub.posts === 3)
  load.stop()
  release()
  await run
  t.equal(load.sent, 3)
  t.equal(acknowledged.length, 3)
  t.strictSame(failed, [])
})

t.test('stop does not wait for messages that are not due yet', async t => {
  const stub = await StubService.start(t)
  const { load } = start(t, stub, { connections: 4, rate: 0.1 })
  const run = load.run()
  await until('the first message', () => stub.stored.length === 1)
  load.stop()
  await run
  t.equal(load.sent, 1)
})

t.test('abort gives up messages in flight, and each counts as a failure', async t => {
  const stub = await StubService.start(t, () => new Promise<Behaviour>(() => {}))
  const { load, acknowledged, failed } = start(t, stub, { connections: 3, isIdempotent: true })
  const run = load.run()
  await until('three messages are in flight', () => stub.posts === 3)
  load.abort()
  await run
  t.strictSame(acknowledged, [])
  t.strictSame(
    failed.map(({ code }) => code),
    ['UND_ERR_DESTROYED', 'UND_ERR_DESTROYED', 'UND_ERR_DESTROYED']
  )
})

t.test('an error in a callback ends the run with that error', async t => {
  const stub = await StubService.start(t)
  const { load } = start(t, stub, {
    connections: 3,
    onAcknowledged: () => {
      throw new Error('mine')
    }
  })
  await t.rejects(load.run(), { message: 'mine' })
})

function start(t: Test, stub: { readonly url: string }, options: Partial<LoadOptions>) {
  const acknowledged: Acknowledged[] = []
  const failed: Failed[] = []
  const load = new Load({
    url: stub.url,
    compose: crowd({
      room: 'room123',
      rooms: undefined,
      user: undefined,
      users: 20,
      zipf: 1,
      seed: 1,
      textBytes: 40
    }),
    connections: 1,
    onAcknowledged: message => {
      acknowledged.push(message)
    },
    onFailed: message => {
      failed.push(message)
    },
    ...options
  })
  t.teardown(() => load.abort())
  return { load, acknowledged, failed }
}
