// Messages survive every kind of end: of the service, of the embedded cluster, and of both at once
// without warning.
import t from 'tap'
import { freshRoom, post, postMany, readAll, request, sequence } from '../support/client.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  t.test(
    `after ${signal} and a restart everything is there, and the sequence continues`,
    async t => {
      const room = freshRoom()
      const service = await startService(t, { env: { DATA_DIR: t.testdir() } })
      t.teardown(() => service.stop())
      await postMany(service.url, room, 'ann', 30)
      await post(service.url, room, 'ann', 'once', { 'idempotency-key': 'k' })
      const before = await readAll(service.url, room)
      await service.restart(signal)
      t.same(await readAll(service.url, room), before)
      t.match(
        await post(service.url, room, 'ann', 'once', { 'idempotency-key': 'k' }),
        { status: 200, body: { seq: 31 } },
        'the key is remembered'
      )
      t.match(await post(service.url, room, 'ann', 'next'), { status: 201, body: { seq: 32 } })
      const stream = openSse(t, `${service.url}/rooms/${room}/events`)
      await stream.isLive()
      t.same(stream.seqs, sequence(1, 32))
      t.match((await request(`${service.url}/rooms/${room}/users`)).body, {
        users: { length: 1, 0: { user: 'ann', messages: 32 } }
      })
    }
  )
}
