// What each route says when the service loses a permission while it runs: one permission after the
// other, every route at once. permissions.ts has what a start says, and single permissions closely.
import t, { type Test } from 'tap'
import { connect } from '../../src/embedded/connection.js'
import { leastAcl } from '../../src/redis/requirements.js'
import { REQUIREMENTS } from '../../src/store/requirements.js'
import { freshRoom, newName, post, request, type Answer } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

/** Each has a user and a service of its own, so that they can go on at the same time. */
const GROUPS = 4
/** Far below STORE_DENIED's alternative: to wait until STORE_DEADLINE_MS has passed. */
const ANSWER_MS_MAX = 6000

const cluster = await startCluster(t)
const least = leastAcl(REQUIREMENTS).split(' ')
const nodes = await Promise.all(cluster.nodes.map(({ url }) => connect(url)))
t.teardown(async () => {
  for (const node of nodes) await node.disconnect()
})

/** One permission: the rules that take it away and give it back. */
type Permission = {
  readonly name: string
  readonly taken: readonly string[]
  readonly back: readonly string[]
}
const startingWith = (prefix: string): string[] => least.filter(rule => rule.startsWith(prefix))
const permissions: readonly Permission[] = [
  ...startingWith('+').map(rule => ({
    name: rule.slice(1),
    taken: [`-${rule.slice(1)}`],
    back: [rule]
  })),
  ...['~', '&'].flatMap(prefix =>
    startingWith(prefix).map(name => ({
      name,
      taken: [
        prefix === '~' ? 'resetkeys' : 'resetchannels',
        ...startingWith(prefix).filter(rule => rule !== name)
      ],
      back: [name]
    }))
  )
]

const json = (method: string, body: object, headers: object = {}): RequestInit => ({
  method,
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify(body)
})

/** Every route that needs Redis, in rooms of its own. */
async function routesOf(url: string): Promise<ReadonlyArray<() => Promise<Answer>>> {
  const [room, other, ann, bob] = [freshRoom(), freshRoom(), newName(), newName()]
  for (const name of [room, room, room, other]) await post(url, name, ann, 'before')
  await request(`${url}/rooms/${room}/users/${bob}`, { method: 'PUT' })
  const inRoom = (path: string, init?: RequestInit): (() => Promise<Answer>) => {
    return () => request(`${url}/rooms/${room}/${path}`, init)
  }
  return [
    () => post(url, room, ann, 'hello'),
    () => post(url, freshRoom(), newName(), 'hello'),
    () => post(url, room, ann, 'hello', { 'idempotency-key': newName() }),
    inRoom('messages/1', json('PATCH', { user: ann, text: 'changed' })),
    inRoom(`messages/2?user=${ann}`, { method: 'DELETE' }),
    inRoom('messages'),
    inRoom('messages/3'),
    inRoom('users'),
    inRoom('blocks'),
    inRoom(`users/${newName()}`, { method: 'PUT' }),
    inRoom(`users/${bob}`, { method: 'DELETE' }),
    inRoom(`users/${ann}/read`, json('PUT', { seq: 2 })),
    inRoom('signals', json('POST', { user: ann, kind: 'typing', data: {} })),
    () => request(`${url}/users/${ann}/rooms`),
    () => request(`${url}/rooms/${other}`, { method: 'DELETE' }),
    () => request(`${url}/cluster`)
  ]
}

async function tryEach(t: Test, user: string, group: readonly Permission[]): Promise<void> {
  const change = (...rules: readonly string[]): Promise<unknown> =>
    Promise.all(nodes.map(node => node.sendCommand(['ACL', 'SETUSER', user, ...rules])))
  await change('on', '>secret', ...least)
  const { url } = await startService(t, {
    redisNodes: cluster.urls.map(node => node.replace('redis://', `redis://${user}:secret@`))
  })
  const isReady = async (): Promise<boolean> =>
    (await request(`${url}/health/ready`)).status === 200
  for (const { name, taken, back } of group) {
    const routes = await routesOf(url)
    const reader = newName()
    await change(...taken)
    const streams = ['/rooms/room/events', `/users/${reader}/events`].map(path =>
      openSse(t, `${url}${path}`)
    )
    // The first round meets the refusal, the second one finds it known.
    for (const round of ['first', 'second']) {
      const begun = performance.now()
      const answers = await Promise.all(routes.map(async ask => await ask()))
      const ms = performance.now() - begun
      t.ok(ms < ANSWER_MS_MAX, `${name}: the ${round} answers took ${Math.round(ms)} ms`)
      const refused = answers.filter(({ status }) => status >= 300)
      const others = refused.filter(
        ({ status, body }) =>
          // Of the second round: the message was deleted in the first one.
          !(status === 410 && round === 'second') &&
          !(status === 503 && body['code'] === 'STORE_DENIED')
      )
      t.strictSame(
        others.map(({ status, body }) => ({ status, ...body })),
        [],
        `${name}: done, or refused with the reason`
      )
      if (refused.some(({ status }) => status === 503)) {
        t.match(
          await request(`${url}/health/ready`),
          { status: 503, body: { code: 'STORE_DENIED' } },
          `${name}: not ready`
        )
      }
    }
    await change(...back)
    await until(`ready with ${name} again`, isReady, 20_000)
    for (const stream of streams) {
      t.equal(stream.status, 200, `${name}: a stream is not refused`)
      stream.close()
    }
    t.match(await post(url, freshRoom(), newName(), 'after'), { status: 201 }, name)
    const live = openSse(t, `${url}/rooms/${freshRoom()}/events`)
    await live.isLive()
    live.close()
  }
}

t.test(
  'each permission that is taken while the service runs leads to STORE_DENIED wherever it is needed, and to nothing else',
  async t => {
    await Promise.all(
      Array.from({ length: GROUPS }, async (_, index) => {
        await tryEach(
          t,
          `user-${index}`,
          permissions.filter((_permission, place) => place % GROUPS === index)
        )
      })
    )
  }
)
