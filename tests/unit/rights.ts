// What routes ask of a caller, and in whose name one writes.
import t from 'tap'
import { ANYBODY, type Caller } from '../../src/identity/caller.js'
import {
  authorOf,
  checkActsAs,
  checkAdmin,
  checkRead,
  checkWrite
} from '../../src/routes/rights.js'

const ann: Caller = {
  user: 'ann',
  isAdmin: false,
  expiresAtMs: Infinity,
  mayRead: room => room === 'open' || (room === 'later' ? Promise.resolve(true) : false),
  mayWrite: room => (room === 'open' ? true : Promise.resolve(false)),
  mayActAs: user => user === 'ann'
}

t.test('without rights everybody may do everything, and nothing is awaited', async t => {
  t.equal(checkRead(ANYBODY, 'room'), undefined)
  t.equal(checkWrite(ANYBODY, 'room'), undefined)
  checkAdmin(ANYBODY)
  checkActsAs(ANYBODY, 'bob')
  t.equal(authorOf(ANYBODY, 'bob'), 'bob')
  t.throws(() => authorOf(ANYBODY, undefined), { code: 'INVALID_BODY' })
})

t.test('a missing right is refused, at once or as soon as it is known', async t => {
  t.equal(checkRead(ann, 'open'), undefined)
  t.throws(() => checkRead(ann, 'other'), { code: 'FORBIDDEN', message: /read the room other/ })
  t.equal(await checkRead(ann, 'later'), undefined)
  t.equal(checkWrite(ann, 'open'), undefined)
  await t.rejects(checkWrite(ann, 'other') ?? Promise.resolve(), {
    code: 'FORBIDDEN',
    message: /write in the room other/
  })
  t.throws(
    () => {
      checkAdmin(ann)
    },
    { code: 'FORBIDDEN' }
  )
  checkActsAs(ann, 'ann')
  t.throws(
    () => {
      checkActsAs(ann, 'bob')
    },
    { code: 'FORBIDDEN' }
  )
})

t.test("one writes in the token's name, and may leave it out", async t => {
  t.equal(authorOf(ann, undefined), 'ann')
  t.equal(authorOf(ann, 'ann'), 'ann')
  t.throws(() => authorOf(ann, 'bob'), { code: 'FORBIDDEN' })
  t.throws(() => authorOf(ann, 'Ann'), { code: 'FORBIDDEN' })
  t.throws(() => authorOf(ann, ''), { code: 'INVALID_NAME' })
})
