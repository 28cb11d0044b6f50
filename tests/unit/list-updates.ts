// Which lists of rooms are updated when somebody writes, without Redis.
import t from 'tap'
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
  await wrote(1)
  await wrote(2)
  t.same(listed, [{ room: 'red', user: 'ann', isBack: false }])
  listUpdates.forget('red', 'ann')
  await wrote(3)
  await wrote(4)
  t.same(listed.slice(1), [{ room: 'red', user: 'ann', isBack: true }])
  // The whole room is deleted, and another one is not.
  listUpdates.forget('red', undefined)
  listUpdates.forget('re', undefined)
  await wrote(5)
  await wrote(6)
  t.same(listed.slice(2), [{ room: 'red', user: 'ann', isBack: true }])
  // The room was deleted again, and nobody has said so. A message from before comes late.
  await wrote(8, 7)
  await wrote(9, 7)
  await wrote(6)
  t.same(listed.slice(3), [{ room: 'red', user: 'ann', isBack: false }])
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
      listUpdates.wrote(room, [{ room, seq: 1, user: `user-${n}`, text: 'x', ms: 1 }], 0)
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
