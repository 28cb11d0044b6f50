// A request that waits for the store while the right of its caller ends: what it asked for is not
// sent. The store is a stand-in that answers when it is told to.
import Fastify from 'fastify'
import t from 'tap'
import { ANYBODY, type Caller } from '../../src/identity/caller.js'
import { Answers } from '../../src/routes/answers.js'
import { errorRoutes, errorSender } from '../../src/routes/errors.js'
import { collectRoutes } from '../../src/routes/known-routes.js'
import { messageRoutes } from '../../src/routes/messages.js'
import { roomRoutes } from '../../src/routes/rooms.js'
import { type Reports } from '../../src/reports.js'
import { type Store } from '../../src/store/store.js'
import { until } from '../support/until.js'

const SECRET = 'what the room says'
const entry = { room: 'room', seq: 1, user: SECRET, text: SECRET, ms: 0 }

let waiting: Array<() => void> = []
const whenTold = async <T>(value: T): Promise<T> => {
  await new Promise<void>(resolve => waiting.push(resolve))
  return value
}
// Only these parts are asked by the routes that are tried.
const store = {
  pageLog: () => whenTold({ head: 1, log: [{ seq: 1, reference: 'ann.0/1-1' }] }),
  history: { entries: async () => [entry] },
  message: () => whenTold(entry),
  users: {
    page: () => whenTold({ total: 1, users: [{ user: SECRET, messages: 1 }], next: undefined })
  }
} as unknown as Store

let caller: Caller = ANYBODY
const app = Fastify()
t.teardown(() => app.close())
app.decorateRequest('caller')
app.decorateRequest('startedAt', 0)
app.addHook('onRequest', (request, _reply, done) => {
  request.caller = caller
  done()
})
const sendError = errorSender({ report: () => undefined } as unknown as Reports)
errorRoutes(app, sendError, collectRoutes(app))
const answers = new Answers({ answersBytesMax: 1e6, answerReadsMax: 1 }, () => undefined)
await app.register(messageRoutes, {
  store,
  answers,
  textMax: 100,
  pageBytesMax: 1e6,
  sendError,
  onPost: () => undefined
})
await app.register(roomRoutes, { store, answers })

for (const path of ['messages', 'messages/1', 'users']) {
  t.test(`GET /rooms/:room/${path}: what waited while the right ended is not sent`, async t => {
    for (const [what, ends, expected] of [
      ['the right stays', 'never', { statusCode: 200 }],
      ['a removal', 'removed', { statusCode: 403, code: 'FORBIDDEN' }],
      ['a removal that is looked up', 'removed later', { statusCode: 403, code: 'FORBIDDEN' }],
      ['an expiry', 'expired', { statusCode: 401, code: 'TOKEN_EXPIRED' }]
    ] as const) {
      let isOver = false
      caller = {
        ...ANYBODY,
        get expiresAtMs() {
          return isOver && ends === 'expired' ? Date.now() - 1 : Infinity
        },
        mayRead: () => {
          if (!isOver || !ends.startsWith('removed')) return true
          return ends === 'removed later' ? Promise.resolve(false) : false
        }
      }
      waiting = []
      const asked = app.inject({ url: `/rooms/room/${path}` })
      await until('it waits for the store', () => waiting.length > 0)
      isOver = true
      for (const go of waiting) go()
      const { statusCode, body } = await asked
      t.match({ statusCode, ...(JSON.parse(body) as object) }, expected, what)
      t.equal(body.includes(SECRET), ends === 'never', what)
    }
  })
}
