// When a page has to wait until a replica has its newest entry, without Redis.
import t from 'tap'
import { DialogsError, type ErrorCode } from '../../src/errors.js'
import { ConnectionLost } from '../../src/redis/connection.js'
import { type Written } from '../../src/redis/node-pipeline.js'
import { AcknowledgedHeads } from '../../src/store/acknowledged-heads.js'
import { FRESH_MS } from '../../src/store/history.js'

const SOON = Infinity

/** A cluster whose log has this reply to CONFIRM; counts how often it is asked. */
function heads(
  reply: string | null,
  replicated: () => Promise<void> = () => Promise.resolve()
): { heads: AcknowledgedHeads; count: () => number } {
  let count = 0
  const write = async (): Promise<Written> => {
    count++
    const acknowledged = replicated()
    acknowledged.catch(() => undefined)
    return await Promise.resolve({ reply, replicated: acknowledged, wasLost: false })
  }
  return { heads: new AcknowledgedHeads({ write }), count: () => count }
}

const referenceOf = (ms: number): string => `ann.0/${ms}-0`

t.test('a new entry is asked for once, also by many at a time; others cost nothing', async t => {
  const ms = Date.now()
  const { heads: some, count } = heads(referenceOf(ms))
  const asking = [1, 2, 3].map(() => some.ask('r', { seq: 7, ms }, SOON))
  t.strictSame(new Set(await Promise.all(asking)), new Set(['acknowledged']))
  t.equal(await some.ask('r', { seq: 7, ms }, SOON), 'acknowledged')
  t.equal(count(), 1)
  some.note('other', 3, ms)
  t.equal(await some.ask('other', { seq: 3, ms }, SOON), 'acknowledged', 'it was published')
  t.equal(await some.ask('old', { seq: 9, ms: ms - FRESH_MS - 1 }, SOON), 'acknowledged')
  t.equal(await some.ask('empty', { seq: 0, ms: 0 }, SOON), 'acknowledged')
  t.equal(count(), 1)
  // The same sequence was given out again.
  t.equal(await some.ask('other', { seq: 3, ms: ms - 1 }, SOON), 'unknown')
  t.equal(count(), 2)
})

t.test('the answer is about this entry, and nothing else', async t => {
  const ms = Date.now()
  const ask = async (reply: string | null): Promise<string> =>
    await heads(reply).heads.ask('r', { seq: 7, ms }, SOON)
  t.equal(await ask(null), 'unknown', 'the log ends before')
  t.equal(await ask(referenceOf(ms + 1)), 'unknown', 'another message has its sequence')
  t.equal(await ask(''), 'sealed')
  t.equal(await ask(`~deleted.${ms}`), 'acknowledged', 'the room was deleted')
})

t.test('a master that was lost is not believed, and a replica that is silent is told', async t => {
  const ms = Date.now()
  const failing = (error: Error): AcknowledgedHeads =>
    heads(referenceOf(ms), () => Promise.reject(error)).heads
  const place = { seq: 7, ms }
  const lost = failing(new ConnectionLost('The node is no longer a master'))
  t.equal(await lost.ask('r', place, SOON), 'unknown')
  t.equal(await lost.ask('r', place, SOON), 'unknown', 'it is asked again')
  const refused = (code: ErrorCode): AcknowledgedHeads => failing(new DialogsError(code, 'No.'))
  await t.rejects(refused('NOT_REPLICATED').ask('r', place, SOON), { code: 'STORE_UNAVAILABLE' })
  await t.rejects(refused('STORE_UNAVAILABLE').ask('r', place, SOON), { code: 'STORE_UNAVAILABLE' })
  await t.rejects(refused('STORE_LOST').ask('r', place, SOON), { code: 'STORE_LOST' })
  for (const code of ['STORE_FULL', 'STORE_READ_ONLY', 'STORE_DENIED'] as const) {
    t.equal(await refused(code).ask('r', place, SOON), 'acknowledged', `read with ${code}`)
  }
})
