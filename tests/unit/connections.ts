// Closing the listener and idle connections when a service stops: no request that has arrived is
// lost.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { Connections } from '../../src/routes/connections.js'
import { Shares } from '../../src/shares.js'
import { until } from '../support/until.js'

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

for (const { max, each } of [
  { max: 5, each: 5 },
  { max: 6, each: 5 },
  { max: 50, each: 41 }
]) {
  t.test(`of ${max} requests in progress, ${each} may need one silent shard`, async t => {
    const connections = new Connections({
      requestsMax: max,
      requestsBytesMax: 1000,
      pipelineMax: 0,
      stalledMsMax: 10_000,
      onStalled: () => {}
    })
    const shares = new Shares(slot => `shard ${slot}`)
    /** The path is the slot. Those of shard 0 get no answer. */
    const server = createServer((request, response) => {
      const slot = Number(request.url?.slice(1))
      connections.enter(request, response, refusal => {
        const refused = refusal ?? connections.share(request, shares, slot)
        if (refused !== undefined) response.writeHead(503).end(refused.message)
        else if (slot !== 0) response.end('healthy')
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      connections.close()
      server.close()
      server.closeAllConnections()
    })
    const { port } = server.address() as AddressInfo
    const ask = (slot: number): { socket: Socket; read: () => string } => {
      const socket = connect(port, '127.0.0.1')
      t.teardown(() => socket.destroy())
      let text = ''
      socket.on('data', chunk => {
        text += String(chunk)
      })
      socket.write(`GET /${slot} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
      return { socket, read: () => text }
    }
    const silent: Array<ReturnType<typeof ask>> = []
    for (let n = 1; n <= max + 2; n++) {
      const one = ask(0)
      silent.push(one)
      await until(
        `${n} are in progress or refused`,
        () => connections.requests.inWork === Math.min(n, each) && (n <= each || one.read() !== '')
      )
    }
    t.equal(silent.filter(({ read }) => read() === '').length, each)
    for (const { read } of silent.slice(each)) t.match(read(), /^HTTP\/1\.1 503 /)
    if (each < max) {
      for (let n = 0; n < 3; n++) {
        const { socket, read } = ask(1)
        await once(socket, 'close')
        t.match(read(), /healthy$/)
      }
    }
    // A place is free again when its request has ended.
    silent[0]?.socket.destroy()
    await until('one has ended', () => connections.requests.inWork === each - 1)
    ask(0)
    await until('another has its place', () => connections.requests.inWork === each)
  })
}
