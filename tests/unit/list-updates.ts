// Which lists of rooms are updated when somebody writes, without Redis.
import { mock } from 'node:test'
import t from 'tap'
import { DialogsError } from '../../src/errors.js'
import { ListUpdates } from '../../src/store/list-updates.js'

t.test("a writer's list is updated once, and again after a removal", async t => {
  const listed: Array<{ room: string; user: string; isBack: boolean | undefined }> = []
  const listUpdates = new ListUpdates(
    {
      addToList: async (room, user, _ms, _deadline, isBack) => {
        listed.push({ room, user, isBack })
      }
    },
    {
      deadlineMs: 1000,
      shardOf: () => undefined,
      onFault: error => {
        throw error
      }
    }
  )
  const wrote = async (seq: number, generation = 0): Promise<void> => {
    listUpdates.wrote('red', [{ room: 'red', seq, user: 'ann', text: 'x', ms: 1 }], generation)
    await listUpdates.allSettled()
  }
  await wrote(2)
  await wrote(3)
  t.same(listed, [{ room: 'red', user: 'ann', isBack: false }])
  listUpdates.forget('red', 'ann')
  await wrote(4)
  await wrote(5)
  t.same(listed.slice(1), [{ room: 'red', user: 'ann', isBack: true }])
  // The whole room is deleted, and another one is not.
  listUpdates.forget('red', undefined)
  listUpdates.forget('re', undefined)
  await wrote(6)
  await wrote(7)
  t.same(listed.slice(2), [{ room: 'red', user: 'ann', isBack: true }])
  // The room was deleted again, and nobody has said so. A message from before comes late.
  await wrote(10, 8)
  await wrote(11, 8)
  await wrote(7)
  t.same(listed.slice(3), [{ room: 'red', user: 'ann', isBack: false }])
  // The room was lost and begins anew: its streams have dropped it.
  await wrote(9, 8)
  t.same(listed.slice(4), [{ room: 'red', user: 'ann', isBack: true }])
})

t.test('a deletion costs the same however many writers are remembered', async t => {
  const DELETIONS = 10_001 // more than are remembered
  const isBack: Array<boolean | undefined> = []
  const listUpdates = new ListUpdates(
    {
      addToList: async (_room, _user, _ms, _deadline, back) => {
        isBack.push(back)
      }
    },
    { deadlineMs: 1000, shardOf: () => undefined, onFault: error => t.fail(String(error)) }
  )
  const wrote = async (room: string, from: number, to: number): Promise<void> => {
    for (let n = from; n < to; n++) {
      listUpdates.wrote(room, [{ room, seq: 2, user: `user-${n}`, text: 'x', ms: 1 }], 0)
    }
    await listUpdates.allSettled()
  }
  for (let n = 0; n < 80_000; n += 8000) await wrote('red', n, n + 8000)
  const begun = performance.now()
  for (let n = 0; n < DELETIONS; n++) listUpdates.forget(`room-${n}`, undefined)
  const tookMs = performance.now() - begun
  t.ok(tookMs < 1000, `${DELETIONS} deletions took ${Math.round(tookMs)} ms`)
  isBack.length = 0
  await wrote('red', 79_999, 80_000)
  t.same(isBack, [true], 'too many to remember: any room may have been among them')
  listUpdates.forget('red', undefined)
  await wrote('blue', 0, 1)
  await wrote('red', 79_999, 80_000)
  await wrote('red', 79_999, 80_000)
  await wrote('blue', 0, 1)
  t.same(isBack.slice(1), [false, true], 'each once more')
})

t.test('beyond 10,000 updates at a time one is skipped, and its next message makes up', async t => {
  const PENDING_MAX = 10_000
  let listed = 0
  const faults: unknown[] = []
  const listUpdates = new ListUpdates(
    {
      addToList: async () => {
        listed++
      }
    },
    { deadlineMs: 1000, shardOf: () => undefined, onFault: error => faults.push(error) }
  )
  const wrote = (number: number): void => {
    listUpdates.wrote('red', [{ room: 'red', seq: 1, user: `user-${number}`, text: 'x', ms: 1 }], 0)
  }
  for (let number = 0; number < PENDING_MAX; number++) wrote(number)
  t.equal(faults.length, 0, 'at the limit')
  wrote(PENDING_MAX)
  t.equal(faults.length, 1, 'above it')
  await listUpdates.allSettled()
  t.equal(listed, PENDING_MAX)
  wrote(PENDING_MAX)
  await listUpdates.allSettled()
  t.equal(listed, PENDING_MAX + 1)
})

t.test('an update that fails is tried again, unless a message was faster', async t => {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => {
    mock.timers.reset()
  })
  const PAUSE_MS_MAX = 20_000
  const ATTEMPTS_MAX = 4
  let fails: DialogsError | undefined
  let tried: Array<boolean | undefined> = []
  let faults = 0
  const listUpdates = new ListUpdates(
    {
      addToList: async (_room, _user, _ms, _deadline, isBack) => {
        tried.push(isBack)
        if (fails !== undefined) throw fails
      }
    },
    { deadlineMs: 1000, shardOf: () => undefined, onFault: () => faults++ }
  )
  const write = async (user: string): Promise<void> => {
    tried = []
    listUpdates.wrote('red', [{ room: 'red', seq: 2, user, text: 'x', ms: 1 }], 0)
    await listUpdates.settled(user)
  }
  const wait = async (user: string): Promise<void> => {
    mock.timers.tick(PAUSE_MS_MAX)
    await listUpdates.settled(user)
  }

  fails = new DialogsError('STORE_UNAVAILABLE', 'not now')
  await write('ann')
  fails = undefined
  await wait('ann')
  t.strictSame(tried, [false, true], 'the second attempt tells the streams in any case')
  await wait('ann')
  t.equal(tried.length, 2, 'and is the last one')

  fails = new DialogsError('STORE_UNAVAILABLE', 'not now')
  await write('bob')
  for (let i = 0; i < 2 * ATTEMPTS_MAX; i++) await wait('bob')
  t.equal(tried.length, ATTEMPTS_MAX)
  t.equal(faults, 1 + ATTEMPTS_MAX)

  await write('cy')
  fails = undefined
  await write('cy')
  await wait('cy')
  t.equal(tried.length, 1, 'the message that came in between has done it')

  fails = new DialogsError('TOO_MANY_ROOMS', 'full')
  await write('dee')
  await wait('dee')
  t.equal(tried.length, 1, 'a list that is full stays full')

  fails = new DialogsError('STORE_UNAVAILABLE', 'not now')
  await write('eve')
  await listUpdates.allSettled()
  await wait('eve')
  t.equal(tried.length, 1, 'a process that stops does not try again')
})
