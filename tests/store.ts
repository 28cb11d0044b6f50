// Writing and reading by the store against a real cluster: numbers and blocks, what a repeated key means, and every way in which the
// store may refuse.
import t from 'tap'
import { isLost } from '../src/store/message.js'
import { startCluster } from './support/embedded.js'
import { freshRoom } from './support/client.js'
import { append, openStore, readAll } from './support/store.js'

const embedded = await startCluster(t)

t.test('a large group that takes Redis longer than a millisecond keeps every text with its message', async t => {
  const { store } = await openStore(t, embedded)
  const room = freshRoom()
  // 256 texts of 16 KB go to one block in one step; that is several ms of Redis' time.
  const sent = new Map<number, string>()
  await Promise.all(Array.from({ length: 256 }, async (_, index) => {
    const text = `${index} ${'x'.repeat(16_000)}`
    const { message } = await append(store, room, 'ann', text)
    sent.set(message.seq, text)
  }))
  const entries = await readAll(store, room)
  t.equal(entries.length, 256)
  t.strictSame(entries.filter(entry => isLost(entry) || sent.get(entry.seq) !== entry.text).map(({ seq }) => seq), [], 'none is lost or has another\'s text')
})
