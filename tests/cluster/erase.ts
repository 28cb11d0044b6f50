// `npm run erase`: erases a room, or what a user has written, while a service runs.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import t from 'tap'
import { redisTarget } from '../../src/config/redis-target.js'
import { slotOf } from '../../src/redis/slots.js'
import { blockKey, parseKey } from '../../src/store/keys.js'
import { freshRoom, post, readAll, request, sequence } from '../support/client.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { connectTo } from '../support/store.js'
import { program } from '../support/program.js'

const ERASE = program('cli/erase')
const SHAPE = { SEGMENT_LENGTH: '16', BLOCK_LENGTH: '10' }
const cluster = await startCluster(t)
const { url } = await startService(t, { redisNodes: cluster.urls, env: SHAPE })

async function erase(
  ...args: string[]
): Promise<{ status: number | null; output: string; errors: string }> {
  const child = spawn(process.execPath, ['--enable-source-maps', ERASE, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], REDIS_NODES: cluster.urls.join(','), ...SHAPE }
  })
  let [output, errors] = ['', '']
  child.stdout.on('data', chunk => (output += String(chunk)))
  child.stderr.on('data', chunk => (errors += String(chunk)))
  await once(child, 'close')
  return { status: child.exitCode, output, errors }
}

/** Keys that have this text in their name or in what they hold. */
async function keysWith(text: string): Promise<string[]> {
  // Names and contents in turn; a node's replica has the same.
  const flat = JSON.parse(await everythingIn(cluster)) as readonly unknown[]
  return flat.flatMap((key, index) =>
    index % 2 === 0 && JSON.stringify([key, flat[index + 1] ?? null]).includes(text)
      ? [String(key)]
      : []
  )
}

t.test('it explains its usage, and does nothing without --yes', async t => {
  t.match(await erase('--help'), { status: 0, output: /^Erases a room/ })
  for (const args of [
    [],
    ['--room', 'r'],
    ['--room', 'r', '--user', 'u', '--yes'],
    ['--user', '{', '--yes']
  ]) {
    t.match(await erase(...args), { status: 2 }, args.join(' '))
  }
  t.match(await erase('--room', freshRoom(), '--yes'), { status: 1, errors: /There is no room/ })
})

t.test('a room', async t => {
  const room = freshRoom()
  const secret = `secret-${randomUUID()}`
  for (const n of sequence(1, 5)) await post(url, room, 'ann', `${secret} ${n}`)
  const reader = openSse(t, `${url}/rooms/${room}/events`)
  await reader.isLive()
  t.match(await erase('--room', room, '--yes'), { status: 0, output: `${room}: erased up to 6\n` })
  await reader.sees('it', events => events.some(({ event }) => event === 'reset'))
  t.strictSame(await readAll(url, room), [])
  t.notOk((await everythingIn(cluster)).includes(secret))
})

t.test('a user', async t => {
  const [user, other] = ['ann', 'bob'].map(name => `${name}-${randomUUID().slice(0, 8)}`) as [
    string,
    string
  ]
  const rooms = [freshRoom(), freshRoom(), freshRoom()] as const
  const secret = `secret-${randomUUID()}`
  for (const room of rooms.slice(0, 2)) {
    for (const n of sequence(1, 40)) {
      await post(url, room, n % 2 === 0 ? user : other, n % 2 === 0 ? `${secret} ${n}` : `${n}`)
    }
  }
  await request(`${url}/rooms/${rooms[2]}/users/${user}`, { method: 'PUT' })
  await request(`${url}/rooms/${rooms[0]}/messages/2`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user, text: `${secret} changed` })
  })
  // The user has left this room: what they wrote there stays until it is erased.
  await request(`${url}/rooms/${rooms[1]}/users/${user}`, { method: 'DELETE' })
  const reader = openSse(t, `${url}/rooms/${rooms[0]}/events`)
  await reader.isLive()
  // Appended by a process that died: long ago, and just now.
  const orphan = blockKey(rooms[1], `${user}.7`)
  const admin = await connectTo(t, cluster.urls, redisTarget(cluster.urls))
  const put = (id: string, text: string): Promise<unknown> =>
    admin.command(slotOf(orphan), ['XADD', orphan, id, 't', text])
  await put(`${Date.now() - 60_000}-0`, `${secret} orphan`)
  await put('*', 'young orphan')
  const { status, output } = await erase('--user', user, '--yes')
  t.equal(status, 0)
  t.ok((await keysWith('young orphan')).includes(orphan), 'it may still be committed')
  await admin.command(slotOf(orphan), ['UNLINK', orphan])
  t.match(output, `${user}: 40 texts erased in 3 rooms\n`)
  await reader.sees(
    'all deletions',
    events => events.filter(({ data }) => data['deleted'] === true).length === 20
  )
  t.notOk((await everythingIn(cluster)).includes(secret), 'no text is in any key')
  for (const room of rooms.slice(0, 2)) {
    const entries = await readAll(url, room)
    t.strictSame(
      entries.map(({ seq }) => seq),
      sequence(1, entries.length),
      'the order has no hole'
    )
    t.notOk(JSON.stringify(entries).includes(user), 'their name is in no answer')
    t.equal(entries.filter(entry => entry['user'] === other).length, 20)
    const { body } = await request(`${url}/rooms/${room}/users`)
    t.strictSame(body['users'], [{ user: other, messages: 20 }])
  }
  t.match(await request(`${url}/users/${user}/rooms`), { body: { rooms: [] } })
  const answers = await Promise.all(
    rooms.flatMap(room =>
      ['blocks', 'users', 'messages'].map(what => request(`${url}/rooms/${room}/${what}`))
    )
  )
  t.notOk(JSON.stringify(answers).includes(user), 'nor in any other')
  // Where it stays, as compose/README.md says.
  const kinds = new Set((await keysWith(user)).map(key => parseKey(key)?.kind ?? key))
  t.strictSame([...kinds].sort(), ['block', 'changed', 'count', 'left', 'log', 'segment'])
  t.match(await erase('--user', user, '--yes'), {
    status: 0,
    output: /: 0 texts erased in 0 rooms/
  })
})
