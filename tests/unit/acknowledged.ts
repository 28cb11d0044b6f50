// How often a write is repeated whose acknowledgement is lost, without Redis.
import t from 'tap'
import { untilAcknowledged } from '../../src/redis/acknowledged.js'
import { ConnectionLost } from '../../src/redis/connection.js'
import { type Written } from '../../src/redis/node-pipeline.js'

/** Writes of which the first `lost` are not acknowledged. */
function writes(lost: number): { write: () => Promise<Written>; count: () => number } {
  let count = 0
  const write = async (): Promise<Written> => {
    const isLost = count++ < lost
    const replicated = isLost
      ? Promise.reject(new ConnectionLost('The majority does not call the node a master'))
      : Promise.resolve()
    replicated.catch(() => undefined)
    return { reply: count, replicated, wasLost: false }
  }
  return { write, count: () => count }
}

t.test('a write is repeated until it is acknowledged, and its first reply counts', async t => {
  for (const lost of [0, 1, 3]) {
    const { write, count } = writes(lost)
    t.equal(await untilAcknowledged(write, performance.now() + 10_000), 1)
    t.equal(count(), lost + 1)
  }
})

t.test('a master that answers at once and is never confirmed is asked a few times', async t => {
  const { write, count } = writes(Infinity)
  await t.rejects(untilAcknowledged(write, performance.now() + 300), { code: 'STORE_UNAVAILABLE' })
  // The pauses are at least 2.5, 5, 10, 20, 40, 80 and then 100 ms.
  t.ok(count() >= 3, `${count()} writes`)
  t.ok(count() <= 12, `${count()} writes`)
})
