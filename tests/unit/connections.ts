// Closing the listener and idle connections when a service stops: no request that has arrived is
// lost.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { Connections } from '../../src/routes/connections.js'

const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
const LINGER_MS = 30

async function listen(t: Test): Promise<{ connections: Connections; server: Server }> {
  const connections = new Connections({
    requestsMax: 10,
    requestsBytesMax: 1000,
    pipelineMax: 10,
    stalledMsMax: 1000,
    onStalled: () => {}
  })
  const server = createServer((request, response) => {
    connections.enter(request, response, () => response.end('hello'))
  })
  connections.listenTo(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    connections.close()
    server.close()
    server.closeAllConnections()
  })
  return { connections, server }
}

/** A connection on which one request was answered. */
async function connectTo(t: Test, server: Server): Promise<{ socket: Socket; read: () => string }> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  let text = ''
  socket.on('data', chunk => {
    text += String(chunk)
  })
  socket.on('error', error => {
    text += String(error)
  })
  socket.write(REQUEST)
  await once(socket, 'data')
  return { socket, read: () => text }
}

t.test('an idle connection is closed after a while', async t => {
  const { connections, server } = await listen(t)
  const { socket } = await connectTo(t, server)
  const closed = once(socket, 'close')
  await connections.closeListener(server)
  await connections.closeIdle(LINGER_MS)
  await closed
})

t.test('a request that came while the process was busy is answered before that', async t => {
  const { connections, server } = await listen(t)
  const { socket, read } = await connectTo(t, server)
  await connections.closeListener(server)
  const closing = connections.closeIdle(LINGER_MS)
  await new Promise(resolve => setImmediate(resolve))
  const closed = once(socket, 'close')
  // The system has received it at once; by the time this process looks, the time to close is over.
  socket.write(REQUEST)
  const busyUntil = performance.now() + 3 * LINGER_MS
  while (performance.now() < busyUntil);
  await Promise.all([closing, closed])
  t.equal(read().match(/HTTP\/1\.1 200/g)?.length, 2, read())
  t.match(read(), /connection: close/i, 'and the connection ends with the answer')
})

t.test('connections that wait to be accepted are accepted before the listener closes', async t => {
  const { connections, server } = await listen(t)
  await connectTo(t, server)
  const { port } = server.address() as AddressInfo
  const sockets = Array.from({ length: 9 }, () => connect(port, '127.0.0.1'))
  const answers = sockets.map(async socket => {
    t.teardown(() => socket.destroy())
    socket.write(REQUEST)
    const [chunk] = await once(socket, 'data')
    return String(chunk).slice(0, 15)
  })
  // The system completes the connections meanwhile, and this process does not look.
  const busyUntil = performance.now() + LINGER_MS
  while (performance.now() < busyUntil);
  await connections.closeListener(server)
  t.same(
    await Promise.all(answers),
    Array.from(answers, () => 'HTTP/1.1 200 OK')
  )
  await t.rejects(once(connect(port, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' })
})
