// What is decided about the writes of a master whose replica does not acknowledge, depending on
// what the node and the other masters report.
import { ErrorReply } from 'redis'
import t, { type Test } from 'tap'
import { ConnectionLost, type Reply } from '../../src/redis/connection.js'
import { parseReplication } from '../../src/redis/replicas.js'
import { Replication, type Standing } from '../../src/redis/replication.js'

t.jobs = 8

type Shard = {
  /** What WAIT answers. An error is thrown. */
  wait: number | Error
  info: string | Error
  standing: Standing | Error
  isLoading: boolean
  readonly sent: string[]
  readonly degraded: boolean[]
  readonly refused: unknown[]
  readonly replication: Replication
  readonly write: () => Promise<void>
}

const info = (...replicas: string[]): string =>
  [
    'role:master',
    ...replicas.map((fields, index) => `slave${index}:ip=10.0.0.9,port=1,${fields}`)
  ].join('\r\n')
const ONLINE = 'state=online,offset=1,lag=0'
const SILENT = 'state=online,offset=1,lag=9'
const SEEN: Standing = { isMaster: true, replicas: ['r:1'] }
const FAILED: Standing = { isMaster: true, replicas: [] }

function orThrow<T>(value: T | Error): T {
  if (value instanceof Error) throw value
  return value
}

function shard(
  changes: Partial<Pick<Shard, 'wait' | 'info' | 'standing' | 'isLoading'>> = {},
  acks = 1
): Shard {
  const state = {
    wait: 1 as number | Error,
    info: info(ONLINE) as string | Error,
    standing: SEEN as Standing | Error,
    isLoading: false,
    sent: [] as string[],
    degraded: [] as boolean[],
    refused: [] as unknown[],
    ...changes
  }
  const replication = new Replication({
    acks,
    deadlineMs: 10_000,
    standing: async () => orThrow(state.standing),
    isLoading: async () => state.isLoading,
    onDegraded: isDegraded => {
      state.degraded.push(isDegraded)
    },
    onRefused: error => {
      state.refused.push(error)
    }
  })
  const send = async ([command = '', acks, ms]: readonly string[]): Promise<Reply> => {
    state.sent.push(String(command))
    if (command === 'INFO') return orThrow(state.info)
    const count = orThrow(state.wait)
    if (count < Number(acks)) {
      await new Promise(resolve => {
        setTimeout(resolve, Number(ms))
      })
    }
    return count
  }
  return Object.assign(state, { replication, write: () => replication.acknowledged({ send }) })
}

async function timed(work: Promise<unknown>): Promise<number> {
  const begunAt = performance.now()
  await work
  return performance.now() - begunAt
}

t.test('a replica that acknowledges costs one WAIT, and one INFO the first time', async t => {
  const { write, sent, degraded } = shard()
  await write()
  await write()
  t.strictSame(sent, ['INFO', 'WAIT', 'WAIT'])
  t.strictSame(degraded, [])
})

t.test(
  'without a connected replica the shard goes on alone if the majority calls its node a master, and waits again as soon as the replica is back',
  async t => {
    const state = shard({ info: info(), standing: FAILED })
    await state.write()
    t.notOk(state.sent.includes('WAIT'), 'nothing is waited for')
    t.strictSame(state.degraded, [true])
    Object.assign(state, { info: info(ONLINE), standing: SEEN })
    await state.write()
    t.strictSame(state.degraded, [true, false])
  }
)

t.test(
  'a replica that the majority considers failed holds up one WAIT, and nothing after that',
  async t => {
    const state = shard()
    await state.write()
    Object.assign(state, { wait: 0, standing: FAILED, info: info(SILENT) })
    t.ok((await timed(state.write())) < 2500)
    t.ok((await timed(state.write())) < 100, 'while the decision is fresh')
    await new Promise(resolve => {
      setTimeout(resolve, 1100)
    })
    t.ok((await timed(state.write())) < 100, 'and when it is created again')
    t.strictSame(state.degraded, [true])
  }
)

t.test(
  'a silent replica that the other masters still see makes the shard refuse writes, then at once, until the replica acknowledges',
  async t => {
    const state = shard()
    await state.write()
    Object.assign(state, { wait: 0, info: info(SILENT) })
    const begunAt = performance.now()
    await t.rejects(state.write(), { code: 'NOT_REPLICATED' })
    const tookMs = performance.now() - begunAt
    t.ok(tookMs >= 2900 && tookMs < 5000, `after ${tookMs} ms`)
    t.match(state.replication.refusal, { code: 'NOT_REPLICATED' })
    await new Promise(resolve => {
      setTimeout(resolve, 600)
    })
    t.equal(state.replication.refusal, undefined, 'one group may try')
    t.match(state.replication.refusal, { code: 'NOT_REPLICATED' }, 'and no more')
    state.wait = 1
    await state.write()
    t.equal(state.replication.refusal, undefined)
    t.strictSame(state.degraded, [])
  }
)

t.test('a replica that keeps lagging but sends its offset stops holding up its master', async t => {
  const state = shard()
  await state.write()
  state.wait = 0
  const tookMs = await timed(state.write())
  t.ok(tookMs >= 1900 && tookMs < 3500, `after ${tookMs} ms`)
  t.strictSame(state.degraded, [true])
  t.ok((await timed(state.write())) < 100)
})

t.test(
  'if an unconnected replica is still seen by the other masters, the shard goes on alone while it may be restarting or loading, and refuses after that',
  async t => {
    const state = shard()
    await state.write()
    Object.assign(state, { wait: 0, info: info(), isLoading: true })
    for (let n = 0; n < 7; n++) {
      await state.write()
      await new Promise(resolve => {
        setTimeout(resolve, 1000)
      })
    }
    t.strictSame(state.degraded, [true], 'it loads')
    state.isLoading = false
    await t.rejects(state.write(), { code: 'NOT_REPLICATED' })
  }
)

t.test('a replica that is receiving the data set is not waited for', async t => {
  const state = shard({ info: info('state=send_bulk,offset=0,lag=0'), wait: 0 })
  t.ok((await timed(state.write())) < 100)
  t.strictSame(state.degraded, [true])
})

t.test('a node that the majority does not consider a master is given up', async t => {
  for (const changes of [
    { info: info(), standing: { isMaster: false, replicas: [] } },
    { info: 'role:slave' },
    { info: info(), standing: new ConnectionLost('No majority') },
    { wait: new ErrorReply('UNBLOCKED force unblock') }
  ]) {
    await t.rejects(shard(changes).write(), ConnectionLost)
  }
})

t.test('without INFO the majority and WAIT are enough', async t => {
  const denied = new ErrorReply("NOPERM this user has no permissions to run the 'info' command")
  const state = shard({ info: denied })
  await state.write()
  await state.write()
  t.equal(state.sent.filter(command => command === 'INFO').length, 1, 'it is asked for once')
  Object.assign(state, { wait: 0, standing: FAILED })
  await state.write()
  t.strictSame(state.degraded, [true])
})

t.test('without WAIT nothing can be promised, so the refusal is reported', async t => {
  const state = shard({
    wait: new ErrorReply("NOPERM this user has no permissions to run the 'wait' command")
  })
  await t.rejects(state.write(), { code: 'STORE_DENIED', message: /WAIT/ })
  t.match(state.refused, [{ code: 'STORE_DENIED' }])
})

t.test('if one of two required replicas has failed, the other one is enough', async t => {
  const state = shard({ info: info(ONLINE, SILENT), wait: 1 }, 2)
  state.standing = { isMaster: true, replicas: ['r:1'] }
  await state.write()
  t.ok((await timed(state.write())) < 100)
  t.strictSame(state.degraded, [], 'one has it')
})

t.test('INFO replication is read', async (t: Test) => {
  t.strictSame(parseReplication(info(ONLINE, 'state=wait_bgsave,offset=0,lag=0', SILENT)), {
    role: 'master',
    online: 2,
    synchronizing: 1,
    lagS: 0
  })
  t.strictSame(parseReplication('nothing'), {
    role: 'unknown',
    online: 0,
    synchronizing: 0,
    lagS: Infinity
  })
})
