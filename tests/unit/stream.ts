// One stream on a real socket: when it is full, and that it ends whatever the client does.
import { once } from 'node:events'
import net from 'node:net'
import t, { type Test } from 'tap'
import { Stream, type EndReason } from '../../src/live/stream.js'
import { until } from '../support/until.js'

const BYTES_MAX = 16_384

/** A stream whose client reads nothing, and closes its side only when the test tells it to. */
async function openStream(
  t: Test,
  highWaterMark: number
): Promise<{ stream: Stream; socket: net.Socket; client: net.Socket; ends: EndReason[] }> {
  const server = net.createServer({ allowHalfOpen: true, highWaterMark })
  t.teardown(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // It is an object, because the server listens on a port.
  const { port } = server.address() as net.AddressInfo
  const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true }).pause()
  t.teardown(() => client.destroy())
  // Events have an array of arguments.
  const [socket] = (await once(server, 'connection')) as [net.Socket]
  t.teardown(() => socket.destroy())
  const ends: EndReason[] = []
  return {
    stream: new Stream(socket, { bytesMax: BYTES_MAX, retryMs: 1000 }, reason => {
      ends.push(reason)
    }),
    socket,
    client,
    ends
  }
}

for (const highWaterMark of [16_384, 65_536]) {
  t.test(
    `a full stream drains when its client reads, even if its socket buffers ${highWaterMark} bytes by itself`,
    async t => {
      const { stream, socket, client } = await openStream(t, highWaterMark)
      const bytes = Buffer.alloc(10_000)
      // Bytes that the system has taken do not count.
      while (socket.writableLength < BYTES_MAX) stream.write(bytes)
      t.equal(
        stream.isFull,
        highWaterMark <= BYTES_MAX,
        'not before the socket itself would report that it is drained'
      )
      let isDrained = false
      const early = stream.drained().then(() => {
        isDrained = true
      })
      while (!stream.isFull) stream.write(bytes)
      t.ok(socket.writableLength < highWaterMark + 2 * bytes.length)
      const late = stream.drained().then(() => {
        isDrained = true
      })
      client.resume()
      await until('it is drained', () => isDrained)
      await Promise.all([early, late])
      t.notOk(stream.isFull)
    }
  )
}

for (const reason of ['stopping', 'failed'] as const) {
  t.test(
    `a stream that has ended (${reason}) closes the connection to a client that neither reads nor closes`,
    async t => {
      const { stream, socket, ends } = await openStream(t, 16_384)
      while (!stream.isFull) stream.write(Buffer.alloc(10_000))
      stream.end(reason, 'retry: 1\n\n')
      t.same(ends, [reason])
      t.notOk(socket.destroyed, 'it may still take what is on the way')
      await until('it is closed', () => socket.destroyed)
      t.same(ends, [reason])
    }
  )
}

t.test('droppable events go only to a client that has taken everything', async t => {
  const { stream, socket, client } = await openStream(t, 16_384)
  const { writtenAt } = stream
  let taken = ''
  stream.writeIfIdle(Buffer.from('first'))
  t.equal(stream.writtenAt, writtenAt, 'it does not delay the heartbeat')
  const bytes = Buffer.alloc(10_000)
  while (socket.writableLength === 0) stream.write(bytes)
  stream.writeIfIdle(Buffer.from('second'))
  client.on('data', chunk => {
    taken += chunk.toString('latin1')
  })
  client.resume()
  await until('the client has taken everything', () => socket.writableLength === 0)
  stream.writeIfIdle(Buffer.from('third'))
  await until('it has the third', () => taken.endsWith('third'))
  t.ok(taken.startsWith('first'))
  t.notOk(taken.includes('second'))
})

for (const reason of ['expired', 'removed'] as const) {
  t.test(`when the right has ended (${reason}), waiting bytes are not sent`, async t => {
    const { stream, socket, client, ends } = await openStream(t, 16_384)
    let written = 0
    while (!stream.isFull) {
      stream.write(Buffer.alloc(10_000, 'x'))
      written += 10_000
    }
    let received = ''
    client.on('data', chunk => {
      received += String(chunk)
    })
    client.on('error', () => undefined)
    client.pause()
    stream.end(reason, 'event: farewell\n\n')
    stream.write('too late')
    t.same(ends, [reason])
    t.ok(socket.destroyed, 'the connection is cut')
    client.resume()
    await until('it is reset', () => client.closed)
    t.notMatch(received, /farewell|too late/)
    t.ok(received.length < written, 'the waiting bytes have not arrived')
  })

  t.test(`a client that has taken everything gets the farewell (${reason})`, async t => {
    const { stream, socket, client } = await openStream(t, 16_384)
    stream.write('in time\n')
    await until('the system has taken it', () => socket.writableLength === 0)
    stream.end(reason, 'event: farewell\n\n')
    stream.write('too late')
    client.resume()
    let received = ''
    client.on('data', chunk => {
      received += String(chunk)
    })
    await once(client, 'end')
    t.equal(received, 'in time\nevent: farewell\n\n')
  })
}

t.test(
  'a stream that ends soon is silent at once, and says farewell when it is its turn',
  async t => {
    const { stream, socket, client, ends } = await openStream(t, 16_384)
    let received = ''
    client.on('data', chunk => {
      received += String(chunk)
    })
    client.resume()
    stream.write('in time\n')
    await until('the system has taken it', () => socket.writableLength === 0)
    const later: Array<() => void> = []
    const slices = { add: (work: () => void) => later.push(work) }
    stream.endSoon('expired', 'event: farewell\n\n', slices)
    stream.endSoon('removed', 'once\n\n', slices)
    stream.write('too late\n')
    stream.writeIfIdle(Buffer.from('too late\n'))
    t.same(ends, [])
    for (const work of later) work()
    t.same(ends, ['expired'])
    await until('the client has the end', () => client.readableEnded)
    t.equal(received, 'in time\nevent: farewell\n\n')
  }
)

t.test('a stream that ends soon does not wait with the bytes that must not be sent', async t => {
  const { stream, socket, ends } = await openStream(t, 16_384)
  while (!stream.isFull) stream.write(Buffer.alloc(10_000, 'x'))
  stream.endSoon('removed', 'event: farewell\n\n', {
    add: () => {
      t.fail('not later')
    }
  })
  t.same(ends, ['removed'])
  t.ok(socket.destroyed, 'the connection is cut')
})
