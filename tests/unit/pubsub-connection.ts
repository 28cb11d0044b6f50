// One pub/sub connection, against a server that answers as the test decides: messages that cross on
// the way must not shift the answers that follow.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { slotOf } from '../../src/redis/slots.js'
import { PubSubConnection } from '../../src/redis/pubsub-connection.js'
import { until } from '../support/until.js'

type Peer = {
  readonly connection: PubSubConnection
  /** What the connection has reported, in order. */
  readonly told: string[]
  readonly answer: (reply: string) => void
}

const bulk = (text: string): string => `$${text.length}\r\n${text}\r\n`
const push = (kind: 'ssubscribe' | 'sunsubscribe', channel: string): string =>
  `*3\r\n${bulk(kind)}${bulk(channel)}:1\r\n`
const moved = (channel: string): string => `-MOVED ${slotOf(channel)} 127.0.0.1:7000\r\n`

async function connect(t: Test): Promise<Peer> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  // A server on a TCP port has an address, not a path.
  const { port } = server.address() as AddressInfo
  const told: string[] = []
  const accepted = once(server, 'connection')
  const connection = new PubSubConnection(
    { host: '127.0.0.1', port },
    {
      tls: false,
      tlsCa: undefined,
      username: undefined,
      password: undefined,
      connectTimeoutMs: 1000,
      commandTimeoutMs: 60_000
    },
    {
      onMessage: () => undefined,
      onSubscribed: channel => {
        told.push(`subscribed ${channel}`)
      },
      onUnsubscribed: (channel, refusal) => {
        told.push(`unsubscribed ${channel}${refusal === undefined ? '' : `: ${refusal.message}`}`)
      },
      onEnd: reason => {
        told.push(`end: ${reason.message}`)
      }
    }
  )
  const [socket] = (await accepted) as [Socket]
  socket.resume()
  t.teardown(() => {
    connection.close()
    server.close()
  })
  return {
    connection,
    told,
    answer: reply => {
      socket.write(reply)
    }
  }
}

t.test(
  "if an unsubscribe crosses the server's own, the refusal that follows belongs to no other channel",
  async t => {
    const { connection, told, answer } = await connect(t)
    connection.subscribe('a')
    answer(push('ssubscribe', 'a'))
    await until('a is subscribed', () => told.length === 1)
    connection.unsubscribe('a')
    connection.subscribe('b')
    connection.subscribe('c')
    answer(push('sunsubscribe', 'a') + moved('a') + push('ssubscribe', 'b') + moved('c'))
    await until('c is refused', () => told.length === 3)
    t.strictSame(told, [
      'subscribed a',
      'subscribed b',
      `unsubscribed c: MOVED ${slotOf('c')} 127.0.0.1:7000`
    ])
    connection.unsubscribe('b')
    answer(push('sunsubscribe', 'b') + moved('b'))
    connection.subscribe('d')
    answer(push('ssubscribe', 'd'))
    await until('d is subscribed', () => told.length === 4)
    t.equal(told[3], 'subscribed d')
  }
)

t.test('refused subscriptions, and those ended by the server, are reported', async t => {
  const { connection, told, answer } = await connect(t)
  connection.subscribe('a')
  connection.subscribe('b')
  answer(
    '-CLUSTERDOWN Hash slot not served\r\n' + push('ssubscribe', 'b') + push('sunsubscribe', 'b')
  )
  await until('all is told', () => told.length === 3)
  t.strictSame(told, [
    'unsubscribed a: CLUSTERDOWN Hash slot not served',
    'subscribed b',
    'unsubscribed b'
  ])
})

t.test('a confirmation belongs to its channel, even if an earlier answer is missing', async t => {
  const { connection, told, answer } = await connect(t)
  connection.unsubscribe('a')
  connection.subscribe('b')
  connection.subscribe('c')
  answer(push('ssubscribe', 'b') + moved('c'))
  await until('c is refused', () => told.length === 2)
  t.strictSame(told, ['subscribed b', `unsubscribed c: MOVED ${slotOf('c')} 127.0.0.1:7000`])
})

t.test('a refused login ends the connection', async t => {
  const { told, answer } = await connect(t)
  answer('-NOAUTH Authentication required.\r\n')
  await until('it has ended', () => told.length === 1)
  t.strictSame(told, ['end: NOAUTH Authentication required.'])
})
