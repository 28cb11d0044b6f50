// Which servers get the warning that they are untested.
import t from 'tap'
import { untriedIn } from '../../src/redis/versions.js'

const SERVERS = new URL('../../../compose/setup/servers.mjs', import.meta.url)

t.test('a version that the tests were run on gets no warning; any other one does', async t => {
  for (const server of [
    'Redis 7.0.0',
    'Redis 7.0.15',
    'Redis 8.2.3',
    'Redis 8.6.2',
    'Valkey 8.0.1',
    'Valkey 8.1.8',
    'Valkey 9.1.9'
  ]) {
    t.equal(untriedIn(server), undefined, server)
  }
  for (const server of [
    'Redis 6.2.14',
    'Redis 7.2.4',
    'Redis 7.4.2',
    'Redis 8.0.2',
    'Redis 8.20.0',
    'Redis 8.7.0',
    'Redis 9.0.0',
    'Valkey 7.2.5',
    'Valkey 9.0.1',
    'Valkey 9.10.0',
    'Valkey 10.0.0',
    'Garnet 1.0.0',
    'Redis unstable',
    'Redis 8.2x'
  ]) {
    t.equal(
      untriedIn(server),
      `${server} has not been tried with this service, which was tested on Redis 7.0, 8.2 and 8.6, and on Valkey 8.0, 8.1 and 9.1.`
    )
  }
})

t.test('every server that `npm run test:servers` fetches counts as tested', async t => {
  const { servers } = (await import(SERVERS.href)) as {
    servers: ReadonlyArray<{ readonly name: string }>
  }
  const fetched = servers.filter(({ name }) => /^(redis|valkey)-/.test(name))
  t.ok(fetched.length > 0)
  for (const { name } of fetched) {
    const server = name.replace(/^redis-/, 'Redis ').replace(/^valkey-/, 'Valkey ')
    t.equal(untriedIn(`${server}.0`), undefined, name)
  }
})
