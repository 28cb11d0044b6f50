// Token buckets, at, below and above their capacity; and which addresses count as one.
import t from 'tap'
import { networkOf } from '../../src/routes/limits.js'
import { TokenBuckets } from '../../src/routes/token-buckets.js'

t.test('a bucket gives its capacity at once, and then refills within a minute', t => {
  const buckets = new TokenBuckets(60)
  for (let n = 1; n <= 60; n++) t.equal(buckets.take('ann', 1, 0).waitMs, 0)
  t.match(buckets.take('ann', 1, 0), { left: 0, waitMs: 1000 })
  t.equal(buckets.take('ann', 1, 999).waitMs > 0, true, 'a moment too early')
  t.equal(buckets.take('ann', 1, 1000).waitMs, 0, 'after the time that it named')
  t.equal(buckets.take('ann', 60, 61_000).waitMs, 0, 'after a minute it is full again')
  t.equal(buckets.take('ann', 1, 61_000).waitMs, 1000)
  t.equal(
    buckets.take('ann', 61, 3_600_000).waitMs,
    0,
    'a request beyond its capacity needs a full bucket'
  )
  t.equal(buckets.take('ann', 1, 3_600_000).waitMs, 1000, 'and it never exceeds its capacity')
  t.end()
})

t.test('each name has a bucket of its own, and only the newest buckets are kept', t => {
  const buckets = new TokenBuckets(1, 2)
  for (const name of ['a', 'b']) {
    t.equal(buckets.take(name, 1, 0).waitMs, 0)
    t.ok(buckets.take(name, 1, 0).waitMs > 0)
  }
  buckets.take('c', 1, 0)
  t.ok(buckets.take('b', 1, 0).waitMs > 0, 'the newer one is kept')
  t.equal(buckets.take('a', 1, 0).waitMs, 0, 'the first was forgotten')
  t.end()
})

t.test('an IPv6 network is one caller, and so is an address in any spelling', t => {
  for (const [ip, network] of [
    ['10.1.2.3', '10.1.2.3'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:1:2::6', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0']
  ] as const) {
    t.equal(networkOf(ip), network, ip)
  }
  t.end()
})
