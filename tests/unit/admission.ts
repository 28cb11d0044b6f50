// The queue of accepted messages when the service stops: work may continue after its answer was
// given.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Admission } from '../../src/store/admission.js'

t.test('it is settled when the work has ended, not when the answer was given', async t => {
  const admission = new Admission({ queueLengthMax: 2, queueBytesMax: 10_000, storeDeadlineMs: 20 })
  const ends: Array<() => void> = []
  const work = (): Promise<void> =>
    new Promise(resolve => {
      ends.push(resolve)
    })
  await t.rejects(admission.admit('late', work), { code: 'STORE_UNAVAILABLE' })
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
    const admission = new Admission({
      queueLengthMax: 10,
      queueBytesMax: max,
      storeDeadlineMs: 10_000
    })
    const ends: Array<() => void> = []
    const work = (): Promise<void> =>
      new Promise(resolve => {
        ends.push(resolve)
      })
    const first = admission.admit(text, work)
    const other = admission.admit(text, work).then(
      () => 'taken',
      error => (error.code === 'OVERLOADED' ? 'refused' : String(error))
    )
    for (const end of ends) end()
    await first
    t.equal(await other, second, `${max} bytes`)
    await admission.settled()
  }
})
