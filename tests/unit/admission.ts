// The queue of accepted messages when the service stops: work may continue after its answer was
// given.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Admission } from '../../src/store/admission.js'

const ONE_SHARD = (): string => 'a'

t.test('it is settled when the work has ended, not when the answer was given', async t => {
  const admission = new Admission(
    { queueLengthMax: 2, queueBytesMax: 10_000, storeDeadlineMs: 20 },
    ONE_SHARD
  )
  const ends: Array<() => void> = []
  const work = (): Promise<void> =>
    new Promise(resolve => {
      ends.push(resolve)
    })
  await t.rejects(admission.admit('late', 0, work), { code: 'STORE_UNAVAILABLE' })
  let isSettled = false
  const settled = admission.settled().then(() => {
    isSettled = true
  })
  await sleep(30)
  t.notOk(isSettled)
  t.equal(admission.length, 1)
  ends[0]?.()
  await settled
  t.equal(admission.length, 0)
  await admission.settled()
})

t.test('a message larger than the limit on bytes is taken alone', async t => {
  const text = 'x'.repeat(100)
  /** 1,024 for each message, and 2 for each unit of its text. */
  const BYTES = 1224
  for (const [max, second] of [
    [BYTES - 1, 'refused'],
    [2 * BYTES - 1, 'refused'],
    [2 * BYTES, 'taken'],
    [2 * BYTES + 1, 'taken']
  ] as const) {
    const admission = new Admission(
      {
        queueLengthMax: 10,
        queueBytesMax: max,
        storeDeadlineMs: 10_000
      },
      ONE_SHARD
    )
    const ends: Array<() => void> = []
    const work = (): Promise<void> =>
      new Promise(resolve => {
        ends.push(resolve)
      })
    const first = admission.admit(text, 0, work)
    const other = admission.admit(text, 0, work).then(
      () => 'taken',
      error => (error.code === 'OVERLOADED' ? 'refused' : String(error))
    )
    for (const end of ends) end()
    await first
    t.equal(await other, second, `${max} bytes`)
    await admission.settled()
  }
})

for (const { silent, max, each } of [
  // With up to five places, nothing is kept for others.
  { silent: 1, max: 1, each: 1 },
  { silent: 1, max: 5, each: 5 },
  { silent: 1, max: 6, each: 5 },
  { silent: 1, max: 100, each: 81 },
  { silent: 2, max: 100, each: 45 }
]) {
  t.test(`of ${max} places, ${silent} silent shards get ${each} each`, async t => {
    const queueBytesMax = 1_000_000
    const admission = new Admission(
      { queueLengthMax: max, queueBytesMax, storeDeadlineMs: 10_000 },
      slot => `shard ${slot}`
    )
    const ends: Array<() => void> = []
    const hang = (): Promise<void> =>
      new Promise(resolve => {
        ends.push(resolve)
      })
    const works: Array<Promise<unknown>> = []
    const codes: string[] = []
    const admit = (slot: number): void => {
      const code = admission.admit('text', slot, hang).catch(error => codes.push(error.code))
      works.push(code)
    }
    for (let n = 0; n < max + 1; n++) for (let slot = 0; slot < silent; slot++) admit(slot)
    t.equal(admission.length, silent * each)
    if (max > 5) {
      // Others are served, however often.
      for (let n = 0; n < 3; n++) {
        admit(silent)
        t.equal(admission.length, silent * each + 1, 'a healthy one has its place')
        ends.pop()?.()
        await works.pop()
      }
    }
    for (const end of ends) end()
    await Promise.all(works)
    t.same(new Set(codes), new Set(['OVERLOADED']))
    t.equal(admission.length, 0)
    // What was given back can be taken again.
    const again = admission.admit('text', 0, hang)
    ends.at(-1)?.()
    await again
  })
}

t.test('large texts of a silent shard do not take all the memory of the queue', async t => {
  // Each takes 3,024 bytes.
  const text = 'x'.repeat(1000)
  const admission = new Admission(
    { queueLengthMax: 1000, queueBytesMax: 100 * 3024, storeDeadlineMs: 10_000 },
    slot => `shard ${slot}`
  )
  const ends: Array<() => void> = []
  const hang = (): Promise<void> =>
    new Promise(resolve => {
      ends.push(resolve)
    })
  const works = Array.from({ length: 100 }, () => admission.admit(text, 0, hang))
  const settled = Promise.allSettled(works)
  t.equal(admission.length, 81)
  const healthy = admission.admit(text, 1, hang)
  t.equal(admission.length, 82)
  for (const end of ends) end()
  await healthy
  await settled
})

t.test('steps of messages that wait for a silent shard leave places to others', async t => {
  const admission = new Admission(
    { queueLengthMax: 100, queueBytesMax: 1_000_000, storeDeadlineMs: 10_000 },
    slot => `shard ${slot}`
  )
  const SILENT = 9
  const ends: Array<() => void> = []
  // The rooms are on two healthy shards, and the blocks on the silent one.
  const post = (n: number): Promise<void> =>
    admission.admit('text', n % 2, async () => {
      const share = admission.steps.enter(SILENT)
      await new Promise<void>(resolve => {
        ends.push(resolve)
      })
      admission.steps.leave(share)
    })
  const settled = Promise.allSettled(Array.from({ length: 200 }, (_, n) => post(n)))
  await new Promise(resolve => setImmediate(resolve))
  t.equal(admission.length, 81)
  const share = admission.steps.enter(1)
  admission.steps.leave(share)
  for (const end of ends) end()
  const outcomes = await settled
  t.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 81)
})
