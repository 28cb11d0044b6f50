// What is reported of refusals that last.
import t from 'tap'
import { DialogsError } from '../../src/errors.js'
import { Suitability } from '../../src/redis/suitability.js'

t.test('refusals that alternate are each reported once, and no more than twenty', async t => {
  const reported: Array<string | undefined> = []
  const suitability = new Suitability({
    requirements: { keyed: [], keys: [], channels: [] },
    replicaAcks: 0,
    ask: async () => '',
    examineData: async () => undefined,
    onFault: fault => {
      reported.push(fault?.message)
    },
    onDoubt: () => {}
  })
  t.teardown(() => {
    suitability.close()
  })
  const [first, second] = ['first', 'second'].map(text => new DialogsError('STORE_DENIED', text))
  for (let n = 0; n < 10; n++) {
    suitability.note(first)
    suitability.note(second)
  }
  t.strictSame(reported, ['first', 'second'])
  t.equal(suitability.fault, second)
  for (let n = 0; n < 100; n++) suitability.note(new DialogsError('STORE_DENIED', `text ${n}`))
  t.equal(reported.length, 20, 'and no more than a number')
})
