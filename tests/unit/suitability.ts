// What is reported of refusals, and of checks that are refused themselves.
import { ErrorReply } from 'redis'
import t from 'tap'
import { DialogsError } from '../../src/errors.js'
import { ConnectionLost } from '../../src/redis/connection.js'
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
    onWarning: () => {}
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

t.test('a server that refuses the check is said to be unknown, and must not evict', async t => {
  const noKeys = 'ERR Lua scripts without any input keys are not supported.'
  const warnings: string[] = []
  let policy = 'noeviction'
  const suitability = new Suitability({
    requirements: { keyed: [], keys: [], channels: [] },
    replicaAcks: 0,
    ask: async (_, [command]) => {
      if (command === 'INFO') return `maxmemory_policy:${policy}`
      throw new ErrorReply(noKeys)
    },
    examineData: async () => undefined,
    onFault: () => {},
    onWarning: text => {
      warnings.push(text)
    }
  })
  t.teardown(() => {
    suitability.close()
  })
  await suitability.start(['a', 'b'])
  t.equal(warnings.length, 1, 'said once')
  t.match(warnings[0], noKeys)
  policy = 'volatile-lru'
  await t.rejects(suitability.start(['a']), { code: 'STORE_UNSUITABLE' })
})

t.test('a node that is loading or cut off is not judged', async t => {
  const suitability = new Suitability({
    requirements: { keyed: [], keys: [], channels: [] },
    replicaAcks: 0,
    ask: async node => {
      throw node === 'loading'
        ? new ErrorReply('LOADING Redis is loading')
        : new ConnectionLost('x')
    },
    examineData: async () => undefined,
    onFault: () => {},
    onWarning: t.fail
  })
  t.teardown(() => {
    suitability.close()
  })
  await suitability.start(['loading', 'cut off'])
  t.equal(suitability.fault, undefined)
})
