// Which servers get the warning that they are untested.
import t from 'tap'
import { untriedIn } from '../../src/redis/versions.js'

t.test(
  'a server within the tested versions gets no warning; an older or newer one does',
  async t => {
    for (const server of [
      'Redis 7.0.0',
      'Redis 7.4.2',
      'Redis 8.6.2',
      'Valkey 8.0.1',
      'Valkey 9.1.9'
    ]) {
      t.equal(untriedIn(server), undefined, server)
    }
    for (const server of [
      'Redis 6.2.14',
      'Redis 8.7.0',
      'Redis 9.0.0',
      'Valkey 7.2.5',
      'Valkey 9.2.0',
      'Valkey 10.0.0',
      'Garnet 1.0.0',
      'Redis unstable'
    ]) {
      t.equal(
        untriedIn(server),
        `${server} has not been tried with this service, which is tested on Redis 7.0 to 8.6 and Valkey 8.0 to 9.1.`
      )
    }
  }
)
