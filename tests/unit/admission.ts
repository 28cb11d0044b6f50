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
