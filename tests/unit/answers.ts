// How many long answers are read at once, and how many of their bytes may wait for clients.
import { EventEmitter, once } from 'node:events'
import { type FastifyReply } from 'fastify'
import t from 'tap'
import { Answers, type PageJson, type PageOf } from '../../src/routes/answers.js'

const BYTES_MAX = 1000
const READS_MAX = 2

/**
 * The part of a reply that Answers uses. Its client takes nothing until the connection is closed.
 */
class Unread extends EventEmitter {
  destroyed = false
  sent: Buffer | undefined
  readonly raw = this
  readonly request = { caller: {}, ip: '192.0.2.1' }
  header(): this {
    return this
  }

  send(body: Buffer): this {
    this.sent = body
    return this
  }

  get reply(): FastifyReply {
    return this as unknown as FastifyReply // Only these members are used.
  }
}

const answers = (): Answers =>
  new Answers({ answersBytesMax: BYTES_MAX, answerReadsMax: READS_MAX }, () => undefined)

/** A page of a room, which is short. */
const pageOf = (name: string): PageOf => ({ kind: 'messages', name, limit: 1, where: [] })
const pageJson = (json: string): PageJson => ({ json, entries: 1 })

for (const { held, isRefused } of [
  { held: BYTES_MAX - 1, isRefused: false },
  { held: BYTES_MAX, isRefused: true },
  { held: BYTES_MAX + 1, isRefused: true }
]) {
  t.test(
    `with ${held} of ${BYTES_MAX} bytes not taken, a further page is ${isRefused ? 'refused, until they are' : 'read'}`,
    async t => {
      const all = answers()
      const first = new Unread()
      await all.send(first.reply, pageOf('first'), async () => pageJson('x'.repeat(held)))
      t.equal(all.bytes, held)
      let isRead = false
      const next = async (): Promise<unknown> =>
        await all.send(new Unread().reply, pageOf('next'), async () => {
          isRead = true
          return pageJson('{}')
        })
      if (isRefused) {
        await t.rejects(next(), { code: 'OVERLOADED', statusCode: 503 })
        t.notOk(isRead, 'nothing is read for it')
        first.emit('close')
        t.equal(all.bytes, 0)
      }
      await next()
      t.ok(isRead)
    }
  )
}

t.test('bytes stop counting when they are sent, or when the client has gone', async t => {
  const all = answers()
  const gone = new Unread()
  await all.send(gone.reply, pageOf('gone'), async () => {
    gone.destroyed = true
    return pageJson('x'.repeat(BYTES_MAX))
  })
  t.equal(all.bytes, 0)
  const here = new Unread()
  await all.send(here.reply, pageOf('here'), async () => pageJson('é😀'))
  t.equal(all.bytes, 6)
  t.equal(String(here.sent), 'é😀')
})

t.test(`${READS_MAX} pages are read at once; requests for the same page share a read`, async t => {
  const all = answers()
  const begun: string[] = []
  const end = new EventEmitter()
  const ask = (key: string, reply = new Unread()): Promise<unknown> =>
    all.send(reply.reply, pageOf(key), async () => {
      begun.push(key)
      await once(end, key)
      return pageJson(key)
    })
  const one = ask('a')
  const two = ask('b')
  const third = ask('c')
  const again = [ask('a'), ask('a')]
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame(begun, ['a', 'b'], 'the third waits for its turn')
  end.emit('b')
  await two
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame(begun, ['a', 'b', 'c'])
  end.emit('a')
  await one
  await new Promise(resolve => setImmediate(resolve))
  t.strictSame(begun, ['a', 'b', 'c', 'a'], 'one read for all that came during the first')
  end.emit('a')
  await Promise.all(again)
  end.emit('c')
  await third
})

t.test('a failed read makes room for the next', async t => {
  const all = answers()
  const fails = (key: string): Promise<unknown> =>
    all.send(new Unread().reply, pageOf(key), async () => {
      throw new Error(`no ${key}`)
    })
  for (const key of ['a', 'b', 'c']) await t.rejects(fails(key), { message: `no ${key}` })
  const reply = new Unread()
  await all.send(reply.reply, pageOf('a'), async () => pageJson('there'))
  t.equal(String(reply.sent), 'there')
})

t.test('what nobody waits for any more is not read when its turn comes', async t => {
  const all = answers()
  const end = new EventEmitter()
  const begun: string[] = []
  const ask = (name: string, { reply } = new Unread()): Promise<unknown> =>
    all.send(reply, pageOf(name), async () => {
      begun.push(name)
      await once(end, 'end')
      return pageJson(name)
    })
  const running = ['a', 'b'].map(name => ask(name))
  const [left, other, alone] = [new Unread(), new Unread(), new Unread()]
  const shared = [ask('shared', left), ask('shared', other)]
  const gone = ask('gone', alone)
  await new Promise(resolve => setImmediate(resolve))
  t.equal(all.waiting, 2)
  left.destroyed = true
  alone.destroyed = true
  t.strictSame(begun, ['a', 'b'])
  const refused = t.rejects(gone, { code: 'REQUEST_TIMEOUT' })
  end.emit('end')
  await Promise.all([...running, refused])
  t.strictSame(begun, ['a', 'b', 'shared'], 'one of its two clients is still there')
  end.emit('end')
  // The second one came after the first had begun to wait, so it gets a read of its own.
  await shared[0]
  await new Promise(resolve => setImmediate(resolve))
  end.emit('end')
  await shared[1]
})
