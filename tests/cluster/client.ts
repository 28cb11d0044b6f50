// The client against a real service: history both ways, streams through restarts, all users, the
// examples, and the package as it would be installed.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Dialogs } from 'dialogs/client'
import { freshRoom, postMany, sequence } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const service = await startService(t, {
  redisNodes: (await startCluster(t)).urls,
  env: { RETRY_MS: '100' }
})
const dialogs = new Dialogs({ url: service.url })

async function seqsOf(entries: AsyncIterable<{ seq: number }>): Promise<number[]> {
  const seqs: number[] = []
  for await (const { seq } of entries) seqs.push(seq)
  return seqs
}

t.test('history is read in both directions, over pages, from any place', async t => {
  const room = freshRoom()
  t.same(await seqsOf(dialogs.history(room)), [], 'of an empty room')
  await postMany(service.url, room, 'ann', 12)
  const limit = 5
  t.same(await seqsOf(dialogs.history(room, { after: 0, limit })), sequence(1, 12))
  t.same(await seqsOf(dialogs.history(room, { after: 10, limit })), [11, 12])
  t.same(await seqsOf(dialogs.history(room, { after: 12, limit })), [])
  t.same(await seqsOf(dialogs.history(room, { after: 3, before: 9, limit })), sequence(4, 8))
  t.same(await seqsOf(dialogs.history(room, { limit })), sequence(1, 12).reverse())
  t.same(await seqsOf(dialogs.history(room, { before: 7, limit })), sequence(1, 6).reverse())
  await t.rejects(seqsOf(dialogs.history('a{b}')), { code: 'INVALID_NAME' })
})

t.test('a stream of two rooms has each entry once, in order, through restarts', async t => {
  const rooms = [freshRoom(), freshRoom()]
  const seen = new Map<string, number[]>(rooms.map(room => [room, []]))
  for (const room of rooms) await postMany(service.url, room, 'ann', 3)
  const stop = new AbortController()
  const restarting = (async () => {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await service.end(signal)
      await service.start()
      for (const room of rooms) await postMany(service.url, room, 'bob', 3)
    }
  })()
  let downs = 0
  for await (const event of dialogs.stream(rooms, {
    after: { [rooms[0] ?? '']: 1 },
    signal: stop.signal
  })) {
    if (event.type === 'down') downs++
    if (event.type !== 'message') continue
    seen.get(event.room)?.push(event.message.seq)
    if ([...seen.values()].every(seqs => seqs.at(-1) === 9)) break
  }
  await restarting
  t.same(
    rooms.map(room => seen.get(room)),
    [sequence(2, 9), sequence(1, 9)]
  )
  t.ok(downs >= 2)
})

t.test('posts of one room keep their order and are stored once, through a restart', async t => {
  const room = freshRoom()
  const texts = sequence(1, 40).map(n => `m${n}`)
  const posts = texts.map(text => dialogs.post(room, { user: 'ann', text }))
  await posts[4]
  await service.end('SIGKILL')
  await service.start()
  const stored = await Promise.all(posts)
  t.same(
    stored.map(({ seq }) => seq),
    sequence(1, 40)
  )
  t.same(
    (await dialogs.messages(room)).messages.map(entry => 'text' in entry && entry.text),
    texts
  )
})

t.test('users are listed in pages', async t => {
  const room = freshRoom()
  for (const user of ['ann', 'bob', 'eve']) await dialogs.post(room, { user, text: 'hi' })
  const first = await dialogs.users(room, { limit: 2 })
  const second = await dialogs.users(room, { limit: 2, after: first.next ?? '' })
  t.same(
    [...first.users, ...second.users].map(({ user }) => user),
    ['ann', 'bob', 'eve']
  )
  t.match([first.total, second.next], [3, null])
})

t.test('users are invited and removed, and their inbox tells them', async t => {
  const room = freshRoom()
  await dialogs.post(room, { user: 'ann', text: 'hi' })
  const stop = new AbortController()
  const news: string[] = []
  for await (const event of dialogs.inbox(`bob of ${room}`, { signal: stop.signal })) {
    if (event.type === 'live') await dialogs.invite(room, `bob of ${room}`)
    if (event.type === 'room') {
      news.push(`in ${event.dialog.room}, ${event.dialog.unread} unread`)
      t.equal((await dialogs.users(room)).total, 2)
      await dialogs.remove(room, `bob of ${room}`)
    }
    if (event.type === 'left') {
      news.push(`left ${event.room}`)
      stop.abort()
    }
  }
  t.same(news, [`in ${room}, 1 unread`, `left ${room}`])
  t.same((await dialogs.users(room)).users, [{ user: 'ann', messages: 1 }])
  await dialogs.invite(room, 'eve')
  await dialogs.invite(room, 'eve')
  await dialogs.remove(room, 'eve')
  await dialogs.remove(room, 'eve')
  await t.rejects(dialogs.invite(room, 'a{b}'), { code: 'INVALID_NAME' })
  await t.rejects(dialogs.remove(room, '..'), { code: 'INVALID_NAME' })
})

t.test('the examples run: a bot that answers each message once, and an export', async t => {
  const room = freshRoom()
  const example = (name: string): string => join(root, 'dist/src/client/examples', `${name}.js`)
  const bot = spawn(process.execPath, [example('echo'), service.url, room])
  t.teardown(() => bot.kill())
  await once(bot.stdout, 'data')
  await dialogs.post(room, { user: 'ann', text: 'hello' })
  for await (const event of dialogs.stream(room)) {
    if (event.type === 'message' && event.message.user === 'echo') break
  }
  const lines = spawn(process.execPath, [example('export'), service.url, room])
  const entries = (await textOf(lines.stdout))
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  t.match(entries, [
    { seq: 1, user: 'ann', text: 'hello' },
    { seq: 2, user: 'echo', text: 'ann: hello' }
  ])
})

t.test('the package contains only the client with its types, and can be used', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'dialogs-client-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const run = (command: string, args: string[], cwd = root): string =>
    execFileSync(command, args, { cwd, encoding: 'utf8' })
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  run(process.execPath, [tsc, '-p', 'src/client'])
  const [packed] = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder])
  ) as Array<{ filename: string; size: number; files: Array<{ path: string }> }>
  const paths = packed?.files.map(({ path }) => path) ?? []
  t.same(paths.filter(path => !/^dist\/src\/client\/[a-z-]+\.(js|d\.ts)$/.test(path)).sort(), [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'dist/src/routes/member-schemas.d.ts',
    'dist/src/routes/schemas.d.ts',
    'package.json',
    'src/client/README.md'
  ])
  t.ok(
    paths.includes('dist/src/client/dialogs.js') && paths.includes('dist/src/client/dialogs.d.ts')
  )
  t.ok(packed !== undefined && packed.size < 100_000, 'small')

  run('tar', ['-xf', packed?.filename ?? ''], folder)
  mkdirSync(join(folder, 'node_modules'))
  cpSync(join(folder, 'package'), join(folder, 'node_modules/dialogs'), { recursive: true })
  for (const name of ['eventsource-parser', '@sinclair/typebox']) {
    cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), {
      recursive: true
    })
  }
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  writeFileSync(
    join(folder, 'program.ts'),
    `import { Dialogs, type Message } from 'dialogs/client'
     const message: Message = await new Dialogs({ url: '${service.url}' }).post('${freshRoom()}', { user: 'ann', text: 'hi' })
     process.stdout.write(String(message.seq))`
  )
  const readme = readFileSync(join(folder, 'package/src/client/README.md'), 'utf8')
  const [, snippet = ''] = /```ts\n(.*?)```/s.exec(readme) ?? []
  writeFileSync(
    join(folder, 'readme.ts'),
    snippet.replace('http://127.0.0.1:8080', service.url).replaceAll('room123', freshRoom())
  )
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        strict: true,
        module: 'NodeNext',
        target: 'ES2023',
        types: ['node'],
        typeRoots: [join(root, 'node_modules/@types')]
      },
      include: ['program.ts', 'readme.ts']
    })
  )
  run(process.execPath, [tsc], folder)
  // The service answers from a process of its own.
  t.equal(run(process.execPath, ['program.js'], folder), '1')
  const fromReadme = spawn(process.execPath, ['readme.js'], { cwd: folder })
  t.teardown(() => fromReadme.kill())
  const [line] = (await once(fromReadme.stdout, 'data')) as [Buffer]
  t.match(String(line), 'ann hello', "the README's example runs as it stands")
})
