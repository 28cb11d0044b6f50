import fc from 'fast-check'
import t from 'tap'
import { crowd, type CrowdOptions } from '../../src/cli/crowd.js'

const plain: CrowdOptions = {
  room: 'room123',
  rooms: undefined,
  user: undefined,
  users: undefined,
  zipf: 1,
  seed: 1,
  textBytes: 100
}

function messages(options: Partial<CrowdOptions>, count: number) {
  const compose = crowd({ ...plain, ...options })
  return Array.from({ length: count }, (_, index) => compose(index))
}

t.test('without options for users, lady_gaga writes everything to one room', async t => {
  for (const { room, user } of messages({}, 20)) {
    t.strictSame({ room, user }, { room: 'room123', user: 'lady_gaga' })
  }
  t.equal(messages({ user: 'someone' }, 1)[0]?.user, 'someone')
})

t.test('a text has a running number and exactly the requested number of bytes', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 16, max: 65_536 }),
      fc.integer({ min: 0, max: 999_999_999 }),
      (textBytes, index) => {
        const { text } = crowd({ ...plain, textBytes })(index)
        return Buffer.byteLength(text) === textBytes && text.startsWith(`#${index + 1} `)
      }
    )
  )
})

t.test('rooms take turns', async t => {
  t.strictSame(
    messages({ rooms: 3 }, 7).map(({ room }) => room),
    [1, 2, 3, 1, 2, 3, 1].map(n => `room123-${n}`)
  )
})

t.test('of many users the first is the busiest, and may be given a name', async t => {
  const countOf = (name: string, options: Partial<CrowdOptions>) =>
    messages({ users: 100, ...options }, 5000).filter(({ user }) => user === name).length
  t.ok(countOf('user-1', {}) > 1.5 * countOf('user-2', {}))
  t.equal(countOf('lady_gaga', { user: 'lady_gaga' }), countOf('user-1', {}))
  t.equal(countOf('user-1', { user: 'lady_gaga' }), 0)
})

t.test('the same seed gives the same messages, another seed gives different ones', async t => {
  t.strictSame(messages({ users: 100, seed: 7 }, 200), messages({ users: 100, seed: 7 }, 200))
  t.notSame(messages({ users: 100, seed: 7 }, 200), messages({ users: 100, seed: 8 }, 200))
})
