// A connection to a Redis node, against a server that answers as the test decides: which command
// each reply belongs to, and what ends the connection.
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

const LOGIN = '*3\r\n$4\r\nAUTH\r\n$3\r\nann\r\n$6\r\nsecret\r\n'
const PING = '*1\r\n$4\r\nPING\r\n'

type Node = {
  readonly port: number
  readonly heard: () => string
  say: (text: string) => void
  end: () => void
}

/** A server that answers the login and the greeting, and records what it receives after that. */
async function serve(t: Test, login = '+OK\r\n', greeting = '+PONG\r\n'): Promise<Node> {
  const answers = [
    { command: LOGIN, answer: login },
    { command: PING, answer: greeting }
  ]
  let heard = ''
  const sockets = new Set<net.Socket>()
  const server = net.createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', chunk => {
      heard += String(chunk)
      for (let next = answers[0]; next && heard.startsWith(next.command); next = answers[0]) {
        heard = heard.slice(next.command.length)
        answers.shift()
        socket.write(next.answer)
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
    heard: () => heard,
    say: text => {
      for (const socket of sockets) socket.write(text)
    },
    end: () => {
      for (const socket of sockets) socket.destroy()
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

t.test('the commands of one turn are sent in order, and replies arrive in their order', async t => {
  const node = await serve(t)
  const connection = await open(t, node)
  const replies = ['a', 'b', 'é'].map(text => connection.send(['ECHO', text]))
  t.equal(connection.pending, 3)
  const commands =
    '*2\r\n$4\r\nECHO\r\n$1\r\na\r\n*2\r\n$4\r\nECHO\r\n$1\r\nb\r\n*2\r\n$4\r\nECHO\r\n$2\r\né\r\n'
  await until('they have arrived', () => node.heard().length >= commands.length)
  t.equal(node.heard(), commands)
  node.say(":1\r\n-ERR unknown command 'ECHO', with args beginning with: 'b'\r\n$2\r\né\r\n")
  const [one, two, three] = await Promise.allSettled(replies)
  t.match(one, { value: 1 })
  t.match(two, { reason: { message: "ERR unknown command 'ECHO'" } }, 'without the argument')
  t.match(three, { value: 'é' })
  t.equal(connection.pending, 0)
})

t.test('when the node closes the connection, commands in flight are rejected', async t => {
  const node = await serve(t)
  const connection = await open(t, node)
  const reply = connection.send(['GET', 'a'])
  node.end()
  await t.rejects(reply, ConnectionLost)
  t.notOk(connection.isUsable)
  await t.rejects(connection.send(['PING']), ConnectionLost)
})

t.test('silence ends the connection, and commands in flight are rejected at once', async t => {
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

t.test('a node that does not answer the greeting is named, with the reason', async t => {
  const { port } = await serve(t, '', '')
  for (const connectTimeoutMs of [1, 100]) {
    await t.rejects(
      Connection.open({ host: '127.0.0.1', port }, { ...OPTIONS, connectTimeoutMs }),
      {
        constructor: ConnectionLost,
        message: `No connection to 127.0.0.1:${port}: it did not answer the greeting in time`
      }
    )
  }
})

t.test("a denied login rejects with Redis' own error; a denied greeting is ignored", async t => {
  await t.rejects(open(t, await serve(t, '-WRONGPASS no\r\n')), { message: 'WRONGPASS no' })
  await t.rejects(open(t, await serve(t, '+OK\r\n', '-ERR max number of clients reached\r\n')), {
    message: 'ERR max number of clients reached'
  })
  const connection = await open(t, await serve(t, '+OK\r\n', '-NOPERM no PING\r\n'))
  t.ok(connection.isUsable)
})
