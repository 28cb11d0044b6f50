// Asking several nodes without waiting for nodes that do not answer.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { gather } from '../../src/redis/gather.js'

const never = new Promise<never>(() => undefined)

/**
 * A node that, depending on the first letter of the key, answers at once, refuses, answers late, or
 * never answers.
 */
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

t.test('it gets the answers that it needs without asking more nodes than necessary', async t => {
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

t.test('another node is asked at once after a refusal, and soon if a node is late', async t => {
  t.match(await timed(['refuses', 'a', 'b'], 2), {
    found: ['a', 'b'],
    lastError: { message: 'refuses' }
  })
  const { found, ms } = await timed(['vanished', 'a', 'b'], 2)
  t.strictSame(found, ['a', 'b'])
  t.ok(ms < 1000, `${ms} ms`)
})

t.test(
  'when no node is left to ask, it waits for the late ones only without any answer, or if all answers are wanted',
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

t.test(
  'if the answers are not enough, it waits for more of them, but not for late ones',
  async t => {
    const options = { isEnough: (found: readonly unknown[]) => found.includes('b') }
    t.strictSame((await timed(['a', 'c', 'b', 'd'], 2, { ...options, atOnce: 1 })).found, [
      'a',
      'c',
      'b'
    ])
    t.strictSame((await timed(['a', 'b', 'c'], 2, { ...options, atOnce: 1 })).found, ['a', 'b'])
    t.strictSame((await timed(['a', 'c'], 2, options)).found, ['a', 'c'], 'nobody is left')
    const { found, ms } = await timed(['a', 'c', 'vanished'], 2, { ...options, isComplete: true })
    t.strictSame(found, ['a', 'c'])
    t.ok(ms < 1000, `${ms} ms`)
    t.strictSame((await timed(['b', 'late'], 2, { ...options, isComplete: true })).found, [
      'b',
      'late'
    ])
  }
)
