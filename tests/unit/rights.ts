// What routes require of a caller, and in whose name a caller writes.
import t from 'tap'
import { ANYBODY, type Caller } from '../../src/identity/caller.js'
import {
  checkActsAs,
  checkAdmin,
  checkRead,
  checkWrite,
  requiredAuthorIn,
  writerIn
} from '../../src/routes/rights.js'

const ann: Caller = {
  user: 'ann',
  isAdmin: false,
  expiresAtMs: Infinity,
  mayRead: room => room === 'open' || (room === 'later' ? Promise.resolve(true) : false),
  mayWrite: room => (room === 'open' ? true : Promise.resolve(false)),
  writesAsMember: () => false,
  mayReadAsMember: room => room === 'open',
  readRule: 'open',
  mayActAs: user => user === 'ann'
}

t.test('if the service is open, everybody may do everything, and nothing is awaited', async t => {
  t.equal(checkRead(ANYBODY, 'room'), undefined)
  t.equal(checkWrite(ANYBODY, 'room'), undefined)
  checkAdmin(ANYBODY)
  checkActsAs(ANYBODY, 'bob')
  t.equal(writerIn(ANYBODY, 'room', 'bob'), 'bob')
  t.throws(() => writerIn(ANYBODY, 'room', undefined), { code: 'INVALID_BODY' })
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

t.test("a caller writes in the name of the token's user, and may leave the name out", async t => {
  t.equal(writerIn(ann, 'open', undefined), 'ann')
  t.equal(writerIn(ann, 'open', 'ann'), 'ann')
  t.throws(() => writerIn(ann, 'open', 'bob'), { code: 'FORBIDDEN' })
  t.throws(() => writerIn(ann, 'open', 'Ann'), { code: 'FORBIDDEN' })
  t.throws(() => writerIn(ann, 'open', ''), { code: 'INVALID_NAME' })
})

t.test('being the named user does not give the right to write in a room', async t => {
  await t.rejects(Promise.resolve(writerIn(ann, 'other', 'ann')), {
    code: 'FORBIDDEN',
    message: /write in the room other/
  })
})

t.test('every check refuses a bad name before it asks for a right', async t => {
  for (const check of [
    () => checkRead(ann, ''),
    () => checkWrite(ann, ' '),
    () => writerIn(ann, 'a/../b', 'ann'),
    () => {
      checkActsAs(ann, '')
    }
  ]) {
    t.throws(check, { code: 'INVALID_NAME' })
  }
})

t.test("an admin may change anybody's message, or only a named author's", async t => {
  t.equal(await requiredAuthorIn(ANYBODY, 'room', undefined), undefined)
  t.equal(await requiredAuthorIn(ANYBODY, 'room', 'bob'), 'bob')
  t.equal(await requiredAuthorIn(ann, 'open', undefined), 'ann')
  await t.rejects(requiredAuthorIn(ann, 'open', 'bob'), { code: 'FORBIDDEN' })
  await t.rejects(requiredAuthorIn(ann, 'other', undefined), { code: 'FORBIDDEN' })
})
