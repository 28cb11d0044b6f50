// A connection to a Redis node, against a server that says what the test wants: how commands are
// written, whom replies belong to, and what ends it.
import net from 'node:net'
import t, { type Test } from 'tap'
import { Connection, ConnectionLost } from '../../src/redis/connection.js'
import { until } from '../support/until.js'

const OPTIONS = {
  tls: false,
  tlsCa: undefined,
  username: 'ann',
  password: 'secret',
  connectTimeoutMs: 2000,
  commandTimeoutMs: 400
} as const

const GREETING = '*3\r\n$4\r\nAUTH\r\n$3\r\nann\r\n$6\r\nsecret\r\n*1\r\n$4\r\nPING\r\n'

type Node = { readonly port: number; readonly chunks: string[]; say: (text: string) => void }

/** A server that answers the greeting, and records what it is told after that. */
async function serve(t: Test, greeting = '+OK\r\n+PONG\r\n'): Promise<Node> {
  const chunks: string[] = []
  const sockets = new Set<net.Socket>()
  let isGreeted = false
  const server = net.createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', chunk => {
      if (isGreeted) chunks.push(String(chunk))
      else {
        t.equal(String(chunk), GREETING, 'login and greeting come together')
        isGreeted = true
        socket.write(greeting)
      }
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    // A string only for a UNIX socket.
    port: (server.address() as net.AddressInfo).port,
    chunks,
    say: text => {
      for (const socket of sockets) socket.write(text)
    }
  }
}

async function open(t: Test, node: Node): Promise<Connection> {
  const connection = await Connection.open({ host: '127.0.0.1', port: node.port }, OPTIONS)
  t.teardown(() => {
    connection.close('the test is over')
  })
  return connection
}

t.test('commands of one turn are one write; replies come in their order', async t => {
  const node = await serve(t)
  const connection = await open(t, node)
  const replies = ['a', 'b', 'é'].map(text => connection.send(['ECHO', text]))
  t.equal(connection.pending, 3)
  await until('they have arrived', () => node.chunks.length > 0)
  t.strictSame(node.chunks, [
    '*2\r\n$4\r\nECHO\r\n$1\r\na\r\n*2\r\n$4\r\nECHO\r\n$1\r\nb\r\n*2\r\n$4\r\nECHO\r\n$2\r\né\r\n'
  ])
  node.say(":1\r\n-ERR unknown command 'ECHO', with args beginning with: 'b'\r\n$2\r\né\r\n")
  const [one, two, three] = await Promise.allSettled(replies)
  t.match(one, { value: 1 })
  t.match(two, { reason: { message: "ERR unknown command 'ECHO'" } }, 'without the argument')
  t.match(three, { value: 'é' })
  t.equal(connection.pending, 0)
})

t.test('replies after very many are still given to the right command', async t => {
  const node = await serve(t)
  const connection = await open(t, node)
  const replies: Array<Promise<unknown>> = []
  // Always one more than is answered, so that it is never idle.
  for (let round = 0; round < 30; round++) {
    for (let n = 0; n < 100; n++) replies.push(connection.send(['PING']))
    const answered = round === 29 ? 101 : round === 0 ? 99 : 100
    const first = replies.length - connection.pending
    node.say(Array.from({ length: answered }, (_, index) => `:${first + index}\r\n`).join(''))
    await replies[first + answered - 1]
  }
  t.strictSame(
    await Promise.all(replies),
    replies.map((_, index) => index)
  )
})

t.test('what nobody has asked for ends the connection, and so does another protocol', async t => {
  for (const said of ['-ERR max number of clients reached\r\n', 'HTTP/1.1 400\r\n']) {
    const node = await serve(t)
    const connection = await open(t, node)
    node.say(said)
    await until('it is closed', () => !connection.isUsable)
    await t.rejects(connection.send(['PING']), ConnectionLost)
  }
})

t.test('silence ends it, and what is in flight is rejected at once', async t => {
  const node = await serve(t)
  const connection = await open(t, node)
  const results = await Promise.allSettled([
    connection.send(['GET', 'a']),
    connection.send(['PING'])
  ])
  for (const result of results) {
    t.match(result, { reason: { name: 'ConnectionLost', message: /no reply for/ } })
  }
  t.notOk(connection.isUsable)
})

t.test("a denied login is Redis' own error; a denied greeting is left to what follows", async t => {
  await t.rejects(open(t, await serve(t, '-WRONGPASS no\r\n-NOAUTH no\r\n')), {
    message: 'WRONGPASS no'
  })
  await t.rejects(open(t, await serve(t, '-ERR max number of clients reached\r\n')), {
    message: 'ERR max number of clients reached'
  })
  const connection = await open(t, await serve(t, '+OK\r\n-NOPERM no PING\r\n'))
  t.ok(connection.isUsable)
})
