// When streams end because a right has ended: when a token expires, when a key disappears, and when
// a member is removed, even while the stream is being opened.
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { readClaims, TokenCaller } from '../../src/identity/claims.js'
import { type LoopSlices } from '../../src/loop-slices.js'
import { StreamRights } from '../../src/routes/stream-rights.js'
import { until } from '../support/until.js'

type Ended = { readonly reason: string; readonly farewell: string | undefined }

/** None of these times elapses during a test, unless the test makes it short. */
const NEVER = { everyMs: 1e9, missedMs: 1e9, againMs: 1e9, tickMs: 5 }

function world(times: Partial<typeof NEVER> = {}) {
  const rooms = new Set(['a', 'b'])
  const pending: Array<(isMember: boolean) => void> = []
  let removed: (room: string, user: string) => void = () => undefined
  let missed: () => void = () => undefined
  let isKnown = true
  let isDown = false
  const members = {
    isMember: (room: string) => {
      if (isDown) return Promise.reject(new Error('the store does not answer'))
      if (isKnown) return rooms.has(room)
      return new Promise<boolean>(resolve => {
        pending.push(resolve)
      })
    },
    onRemoved: (listener: typeof removed) => {
      removed = listener
    },
    onMissed: (listener: () => void) => {
      missed = listener
    }
  }
  const rights = new StreamRights(members, { ...NEVER, ...times })
  const ends: Ended[] = []
  return {
    rights,
    ends,
    pending,
    stream: {
      endSoon: (reason: string, farewell?: string) => {
        ends.push({ reason, farewell })
      }
    },
    loseNews: (room: string) => {
      rooms.delete(room)
    },
    reconnect: () => {
      missed()
    },
    setDown: (is: boolean) => {
      isDown = is
    },
    forget: () => {
      isKnown = false
    },
    remove: (room: string, user = 'ann') => {
      rooms.delete(room)
      removed(room, user)
    },
    caller: ({ read = ['member'], expiresAtMs = Infinity, signedBy = 'key', sub = 'ann' } = {}) =>
      new TokenCaller(readClaims({ sub, dialogs: { read } }), { expiresAtMs, signedBy, members })
  }
}

t.test('a stream ends once, when its token expires', async t => {
  const { rights, ends, stream, caller } = world()
  const expiresAtMs = Date.now() + 50
  rights.watch(stream, caller({ expiresAtMs }), ['a'])
  t.strictSame(ends, [])
  await until('it has ended', () => ends.length > 0)
  t.ok(Date.now() >= expiresAtMs, 'not earlier')
  t.strictSame(ends, [{ reason: 'expired', farewell: 'event: expired\ndata: {}\n\n' }])
  const late = world()
  late.rights.watch(late.stream, late.caller({ expiresAtMs: Date.now() }), ['a'])
  t.equal(
    late.ends[0]?.reason,
    'expired',
    'a stream whose token has expired in the meantime ends at once'
  )
})

t.test('an expiry that is further away than a timer can wait does not end the stream now', t => {
  const { rights, ends, stream, caller } = world()
  const stop = rights.watch(stream, caller({ expiresAtMs: Date.now() + 2 ** 33 }), ['a'])
  setTimeout(() => {
    t.strictSame(ends, [])
    stop()
    t.end()
  }, 20)
})

t.test("a removal ends the user's streams that show the room", t => {
  const { rights, ends, stream, caller, remove } = world()
  rights.watch(stream, caller(), ['a', 'b'])
  remove('c')
  remove('a', 'bob')
  t.strictSame(ends, [], 'another room, another user')
  remove('b')
  t.strictSame(ends, [{ reason: 'removed', farewell: 'event: removed\ndata: {"room":"b"}\n\n' }])
  t.end()
})

t.test('a right to the room by name outlasts membership', t => {
  const { rights, ends, stream, caller, remove } = world()
  rights.watch(stream, caller({ read: ['member', 'a'] }), ['a'])
  remove('a')
  t.strictSame(ends, [])
  t.end()
})

t.test('a removal between the first check and the opening of the stream is not missed', t => {
  const { rights, ends, stream, caller, remove } = world()
  const asked = caller()
  t.equal(asked.mayRead('a'), true)
  remove('a')
  rights.watch(stream, asked, ['a'])
  t.match(ends, [{ reason: 'removed' }])
  t.end()
})

t.test('if the check takes a while, the stream ends when it says no, or when it fails', async t => {
  const { rights, ends, stream, caller, forget, pending } = world()
  forget()
  rights.watch(stream, caller(), ['a', 'b'])
  pending[0]?.(true)
  pending[1]?.(false)
  await until('it has ended', () => ends.length > 0)
  t.match(ends, [{ reason: 'removed', farewell: /"b"/ }])
})

t.test('when a key disappears, exactly the streams of its tokens end', t => {
  const { rights, ends, stream, caller } = world()
  rights.watch(stream, caller({ signedBy: 'old' }), ['a'])
  rights.watch({ endSoon: () => t.fail('the other key is still there') }, caller(), ['a'])
  rights.endWhere(each => (each as TokenCaller).signedBy === 'old')
  t.match(ends, [{ reason: 'expired' }])
  t.end()
})

t.test('a stream that has ended by itself is not checked any more', async t => {
  const { rights, ends, stream, caller, remove } = world()
  const stop = rights.watch(stream, caller({ expiresAtMs: Date.now() + 20 }), ['a'])
  stop()
  remove('a')
  rights.endWhere(() => true)
  await new Promise(resolve => setTimeout(resolve, 40))
  t.strictSame(ends, [])
})

t.test('a removal whose news was lost ends the stream at the next check', async t => {
  const { rights, ends, stream, caller, loseNews } = world({ everyMs: 20 })
  t.teardown(() => {
    rights.close()
  })
  let looks = 0
  const asked = caller()
  const { mayRead } = asked
  const watched = {
    ...asked,
    mayRead: (room: string) => {
      looks++
      return mayRead(room)
    }
  }
  rights.watch(stream, watched, ['a', 'b'])
  await until('it was checked several times', () => looks > 8)
  t.strictSame(ends, [], 'the right is still there')
  loseNews('b')
  await until('it has ended', () => ends.length > 0)
  t.match(ends[0], { reason: 'removed', farewell: /"b"/ })
})

t.test('after a new subscription every stream is checked soon', async t => {
  const { rights, ends, stream, caller, loseNews, reconnect } = world({ missedMs: 20 })
  t.teardown(() => {
    rights.close()
  })
  rights.watch(stream, caller(), ['a'])
  rights.watch({ endSoon: () => t.fail('this right is there') }, caller(), ['b'])
  loseNews('a')
  await new Promise(resolve => setTimeout(resolve, 50))
  t.strictSame(ends, [], 'nothing was checked yet')
  reconnect()
  await until('it has ended', () => ends.length > 0)
  t.match(ends[0], { reason: 'removed', farewell: /"a"/ })
})

t.test('a check that the store does not answer ends nothing, and is repeated', async t => {
  const { rights, ends, stream, caller, loseNews, reconnect, setDown } = world({
    missedMs: 10,
    againMs: 10
  })
  t.teardown(() => {
    rights.close()
  })
  let looks = 0
  const asked = caller()
  const { mayRead } = asked
  const watched = {
    ...asked,
    mayRead: (room: string) => {
      looks++
      return mayRead(room)
    }
  }
  rights.watch(stream, watched, ['a'])
  setDown(true)
  reconnect()
  await until('the check was repeated', () => looks > 3)
  t.strictSame(ends, [])
  setDown(false)
  loseNews('a')
  await until('it has ended', () => ends.length > 0)
  t.match(ends[0], { reason: 'removed' })
})

t.test('streams that lose their key together do not hold up the event loop', async t => {
  const { rights, caller } = world()
  const STREAMS = 300
  const ends: number[] = []
  let silent = 0
  for (let n = 0; n < STREAMS; n++) {
    const stream = {
      endSoon: (_reason: string, _farewell: string, slices: Pick<LoopSlices, 'add'>) => {
        silent++
        slices.add(() => {
          ends.push(n)
          const until = performance.now() + 1
          while (performance.now() < until);
        })
      }
    }
    rights.watch(stream, caller(), ['a'])
  }
  rights.endWhere(() => true)
  t.equal(silent, STREAMS, 'all are silent at once')
  let perTurn = 0
  while (ends.length < silent) {
    const before = ends.length
    await turn()
    perTurn = Math.max(perTurn, ends.length - before)
  }
  t.ok(perTurn < 50, `at most ${perTurn} connections of 1 ms each were closed in a turn`)
})
