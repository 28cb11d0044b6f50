// Asking several nodes without waiting for those that have vanished.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { gather } from '../../src/redis/gather.js'

const never = new Promise<never>(() => undefined)

/** Answers at once, refuses, answers late, or never does: by the first letter of the key. */
async function ask(key: string): Promise<string> {
  if (key.startsWith('refuses')) throw new Error(key)
  if (key.startsWith('late')) await sleep(400)
  if (key.startsWith('vanished')) await never
  return key
}

async function timed(
  keys: readonly string[],
  count: number,
  options?: Parameters<typeof gather>[3]
): Promise<{ found: readonly string[]; lastError: unknown; ms: number }> {
  const begunAt = performance.now()
  return { ...(await gather(keys, count, ask, options)), ms: performance.now() - begunAt }
}

t.test('it gets the answers it needs with no more questions than necessary', async t => {
  const asked: string[] = []
  const { found } = await gather(['a', 'b', 'c', 'd'], 2, async key => {
    asked.push(key)
    return key
  })
  t.strictSame(
    [found, asked],
    [
      ['a', 'b'],
      ['a', 'b']
    ]
  )
})

t.test('a node that refuses is replaced at once, a late one after a moment', async t => {
  t.match(await timed(['refuses', 'a', 'b'], 2), {
    found: ['a', 'b'],
    lastError: { message: 'refuses' }
  })
  const { found, ms } = await timed(['vanished', 'a', 'b'], 2)
  t.strictSame(found, ['a', 'b'])
  t.ok(ms < 1000, `${ms} ms`)
})

t.test(
  'when nobody is left the late ones are waited for only if there is no answer, or all are wanted',
  async t => {
    t.strictSame((await timed(['vanished', 'a'], 2)).found, ['a'])
    t.strictSame((await timed(['late'], 1)).found, ['late'])
    t.strictSame((await timed(['a', 'late'], Infinity, { isComplete: true })).found, ['a', 'late'])
    t.strictSame((await timed(['late', 'a'], 1, { atOnce: 2 })).found, ['a'], 'the first is enough')
    t.match(await timed([], 1), { found: [] })
    t.match(await timed(['refuses 1', 'refuses 2'], 1), {
      found: [],
      lastError: { message: 'refuses 2' }
    })
  }
)
