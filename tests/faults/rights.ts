// Rights end on time under load, while masters die and services restart: when a token expires, and
// when a member is removed, even if the news of the removal is lost. Nothing is sent afterwards,
// and no token or ticket is in any log.
import t, { type Test } from 'tap'
import { signToken, type NewToken } from '../../src/cli/sign-token.js'
import { connect } from '../../src/embedded/connection.js'
import { SKEW_S } from '../../src/identity/tokens.js'
import { slotOf } from '../../src/redis/slots.js'
import { parseClusterNodes } from '../../src/redis/topology.js'
import { REMOVALS_CHANNEL, roomSlot, usersKey } from '../../src/store/keys.js'
import { freshRoom, post, request, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService, type Service } from '../support/service.js'
import { openSse, type SseReader } from '../support/sse.js'
import { until } from '../support/until.js'

const SECRET = 'only-these-tests-know-this-secret-of-theirs'
/** How much later than its token a stream may end: a busy machine is late with everything. */
const LATE_MS_MAX = 2_000
/**
 * A removal whose news was lost is noticed within 10 s of a new subscription, or 22 s after the
 * death of its process.
 */
const REMOVED_MS_MAX = 30_000

const cluster = await startCluster(t)
const env = { AUTH_JWT_SECRET: SECRET, LOG_LEVEL: 'trace', STORE_DEADLINE_MS: '20000' }
const first = await startService(t, { redisNodes: cluster.urls, env })
const second = await startService(t, { redisNodes: cluster.urls, env })
const services = [first, second]

const secrets: string[] = [SECRET]
async function tokenOf(more: Partial<NewToken>): Promise<string> {
  const token = await signToken(SECRET, { ttlS: 600, ...more })
  secrets.push(token)
  return token
}
const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
async function ticketOf({ url }: Service, token: string): Promise<string> {
  const { body } = await request(`${url}/tickets`, { method: 'POST', headers: bearer(token) })
  secrets.push(String(body['ticket']))
  return String(body['ticket'])
}
const writer = await tokenOf({ isAdmin: true })

/** Posts through both services until it is told to stop. */
function load(t: Test, room: string): { readonly stop: () => Promise<number> } {
  const state = { isStopped: false }
  const lanes = services.map(async ({ url }, lane) => {
    let posted = 0
    for (let n = 0; !state.isStopped; n++) {
      const headers = { ...bearer(writer), 'idempotency-key': `${room}-${lane}-${n}` }
      const answer = await post(url, room, 'loader', `load ${n}`, headers).catch(() => undefined)
      if (answer?.status === 201) posted++
      // The service restarts.
      else if (answer === undefined) await new Promise(resolve => setTimeout(resolve, 50))
    }
    return posted
  })
  const stop = async (): Promise<number> => {
    state.isStopped = true
    return (await Promise.all(lanes)).reduce((sum, posted) => sum + posted, 0)
  }
  t.teardown(stop)
  return { stop }
}

async function killMasterOf(slot: number): Promise<void> {
  const [node] = cluster.nodes
  if (node === undefined) throw new Error('the cluster has no nodes')
  const client = await connect(node.url)
  const view = parseClusterNodes(String(await client.sendCommand(['CLUSTER', 'NODES'])), node.host)
  await client.disconnect()
  const master = view.find(({ slots }) => slots.some(([from, to]) => from <= slot && slot <= to))
  const killed = cluster.nodes.find(({ port }) => port === master?.address.port)
  if (killed === undefined) throw new Error(`no node owns slot ${slot}`)
  await killed.kill('SIGKILL')
  t.teardown(() => killed.stop())
  restarts.push(() => killed.start())
}
const restarts: Array<() => Promise<void>> = []

/** Sends a command to every node. Those that do not own its key refuse it. */
async function onEveryNode(...words: string[]): Promise<void> {
  for (const { url } of cluster.nodes) {
    const client = await connect(url)
    await client.sendCommand(words).catch((error: unknown) => {
      if (!/^(?:MOVED|READONLY) /.test(String((error as Error).message))) throw error
    })
    await client.disconnect()
  }
}

/** What a stream has received after its last word. */
const afterLastWord = ({ text }: SseReader, event: string): string | undefined =>
  new RegExp(`event: ${event}\ndata: [^\n]*\n\n([^]*)$`).exec(text)?.[1]

t.test("tokens expire on time while the room's master dies and a service restarts", async t => {
  const room = freshRoom()
  const loading = load(t, room)
  const opened = await Promise.all(
    sequence(0, 39).map(async n => {
      const service = n % 2 === 0 ? first : second
      // The expiry is in whole seconds.
      const endsAt = (Math.floor(Date.now() / 1000) + 6 + (n % 10)) * 1000
      const ttlS = endsAt / 1000 - Math.floor(Date.now() / 1000) - SKEW_S
      const token = await tokenOf({ user: `reader-${n}`, read: [room], ttlS })
      const path = `${service.url}/rooms/${room}/events?last=0`
      const ticket = n % 4 < 2 ? await ticketOf(service, token) : undefined
      const stream =
        ticket === undefined
          ? openSse(t, path, bearer(token))
          : openSse(t, `${path}&ticket=${ticket}`)
      const record = { service, stream, token, endsAt, endedAt: 0 }
      void until('it ends', () => stream.hasEnded, 60_000).then(
        () => {
          record.endedAt = Date.now()
        },
        () => undefined
      )
      return record
    })
  )
  await Promise.all(opened.map(({ stream }) => stream.isLive()))
  await killMasterOf(roomSlot(room))
  // The streams of the second service end with it. Clients that come back learn whether they
  // still have the right.
  const restartedAt = Date.now()
  await second.restart()
  await until('all have ended', () => opened.every(({ endedAt }) => endedAt > 0), 60_000)
  for (const { service, stream, endsAt, endedAt } of opened) {
    const isCut = service === second && endsAt > restartedAt
    const lateMs = endedAt - endsAt
    if (isCut) t.ok(lateMs < LATE_MS_MAX, `cut by the restart, ${lateMs} ms after the expiry`)
    else {
      t.ok(lateMs > -50 && lateMs < LATE_MS_MAX, `ended ${lateMs} ms after the expiry`)
      t.equal(afterLastWord(stream, 'expired'), '', 'expired is the last thing')
    }
  }
  const onFirst = opened.filter(({ service }) => service === first)
  t.equal(onFirst.filter(({ stream }) => stream.text.includes('event: expired')).length, 20)
  // A stream that was cut by the restart ended before its token did.
  const lastEndsAt = Math.max(...opened.map(({ endsAt }) => endsAt))
  await until('all tokens have expired', () => Date.now() > lastEndsAt, 60_000)
  for (const { service, token } of opened) {
    const again = await request(`${service.url}/rooms/${room}/events`, { headers: bearer(token) })
    t.match(again, { status: 401, body: { code: 'TOKEN_EXPIRED' } })
  }
  t.ok((await loading.stop()) > 20, 'there was load')
  for (const restart of restarts.splice(0)) await restart()
})

t.test('a removal ends streams at every process, even if its channel loses its master', async t => {
  const room = freshRoom()
  const members = sequence(1, 6).map(n => `member-${n}`)
  const stays = 'member-0'
  for (const user of [stays, ...members]) {
    const path = `${first.url}/rooms/${room}/users/${user}`
    const { status } = await request(path, { method: 'PUT', headers: bearer(writer) })
    t.equal(status, 201)
  }
  const loading = load(t, room)
  const streamsOf = async (user: string): Promise<SseReader[]> => {
    const token = await tokenOf({ user, read: ['member'] })
    const streams = services.map(({ url }) =>
      openSse(t, `${url}/rooms/${room}/events?last=0`, bearer(token))
    )
    for (const stream of streams) await stream.isLive()
    return streams
  }
  const staying = await streamsOf(stays)
  const leaving = await Promise.all(members.map(streamsOf))
  await killMasterOf(slotOf(REMOVALS_CHANNEL))
  // Before, while and after the cluster notices the death.
  await Promise.all(
    members.map(async (user, index) => {
      await new Promise(resolve => setTimeout(resolve, index * 1000))
      const service = index % 2 === 0 ? first : second
      await until(
        `${user} is removed`,
        async () => {
          const path = `${service.url}/rooms/${room}/users/${user}`
          return (await request(path, { method: 'DELETE', headers: bearer(writer) })).status === 200
        },
        60_000
      )
      const removedAt = performance.now()
      const own = leaving[index] ?? []
      await until(`${user} hears nothing more`, () => own.every(each => each.hasEnded), 60_000)
      const lateMs = performance.now() - removedAt
      t.ok(lateMs < REMOVED_MS_MAX, `the streams of ${user} ended after ${Math.round(lateMs)} ms`)
    })
  )
  await post(first.url, room, 'loader', 'for members only', bearer(writer))
  await Promise.all(
    staying.map(stream =>
      until('a remaining member reads on', () => stream.text.includes('for members only'), 30_000)
    )
  )
  for (const stream of leaving.flat()) {
    t.equal(afterLastWord(stream, 'removed'), '', 'removed is the last thing')
    t.notMatch(stream.text, /for members only/)
  }
  t.ok((await loading.stop()) > 20, 'there was load')
  for (const restart of restarts.splice(0)) await restart()
})

/** A stream at the first service, of a member whom another service has added. */
async function openMember(t: Test, { url }: Service): Promise<Member> {
  const room = freshRoom()
  const path = `${url}/rooms/${room}/users/leaving`
  await request(path, { method: 'PUT', headers: bearer(writer) })
  const token = await tokenOf({ user: 'leaving', read: ['member'] })
  const stream = openSse(t, `${first.url}/rooms/${room}/events?last=0`, bearer(token))
  await stream.isLive()
  return { room, path, token, stream }
}
type Member = {
  readonly room: string
  readonly path: string
  readonly token: string
  readonly stream: SseReader
}

async function hasEnded(t: Test, { room, token, stream }: Member): Promise<void> {
  const removedAt = performance.now()
  await until('the stream has ended', () => stream.hasEnded, REMOVED_MS_MAX)
  t.comment(`ended after ${Math.round(performance.now() - removedAt)} ms`)
  t.equal(afterLastWord(stream, 'removed'), '', 'removed is the last thing')
  const page = await request(`${first.url}/rooms/${room}/messages`, { headers: bearer(token) })
  t.match(page, { status: 403, body: { code: 'FORBIDDEN' } })
}

t.test('a removal that Redis refuses to publish ends streams elsewhere', async t => {
  const removing = await startService(t, { redisNodes: cluster.urls, env })
  const member = await openMember(t, removing)
  await onEveryNode('ACL', 'SETUSER', 'service', '-spublish')
  t.teardown(() => onEveryNode('ACL', 'SETUSER', 'service', '+spublish'))
  const { status } = await request(member.path, { method: 'DELETE', headers: bearer(writer) })
  t.equal(status, 200)
  await hasEnded(t, member)
})

t.test('a removal whose process died before it was published ends streams elsewhere', async t => {
  const removing = await startService(t, { redisNodes: cluster.urls, env })
  const member = await openMember(t, removing)
  await onEveryNode('HDEL', usersKey(member.room), 'leaving')
  await removing.kill()
  await hasEnded(t, member)
})

t.test('no token, ticket, secret or text is in any log', async t => {
  t.ok(secrets.length > 60)
  for (const { errors, output } of services) {
    const logged = errors + output
    t.match(logged, /"level"/, 'there is a log')
    for (const secret of [...secrets, 'for members only', 'load 1']) {
      if (logged.includes(secret)) t.fail(`${secret.slice(0, 12)}… was logged`)
      const signature = secret.split('.')[2]
      if (signature !== undefined && logged.includes(signature)) t.fail('a signature was logged')
    }
  }
})
