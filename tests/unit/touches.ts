// Which lists of rooms are updated when somebody writes, without Redis.
import t from 'tap'
import { Touches } from '../../src/store/touches.js'

t.test('a writer is listed once, and told anew after a removal', async t => {
  const listed: Array<{ room: string; user: string; isBack: boolean | undefined }> = []
  const touches = new Touches(
    {
      list: async (room, user, _ms, _deadline, isBack) => {
        listed.push({ room, user, isBack })
      }
    },
    {
      deadlineMs: 1000,
      onFault: error => {
        throw error
      }
    }
  )
  const wrote = async (seq: number): Promise<void> => {
    touches.wrote('red', [{ room: 'red', seq, user: 'ann', text: 'x', ms: 1 }])
    await touches.allSettled()
  }
  await wrote(1)
  await wrote(2)
  t.same(listed, [{ room: 'red', user: 'ann', isBack: false }])
  touches.forget('red', 'ann')
  await wrote(3)
  await wrote(4)
  t.same(listed.slice(1), [{ room: 'red', user: 'ann', isBack: true }])
})
