// A process dies between any two steps of an invitation, a removal, a read mark, a message, or the
// change or deletion of one. It leaves the state that the code promises, readers see the old or the
// new state, the check finds what is left and --repair mends it, and repeating the operation puts
// it right.
import t, { type Test } from 'tap'
import { type FindingKind } from '../../src/cli/check/finding.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { DialogsError } from '../../src/errors.js'
import { Dialogs } from '../../src/store/dialogs.js'
import { ReadMarks } from '../../src/store/read-marks.js'
import { type Store } from '../../src/store/store.js'
import { checkRoom } from '../support/check-room.js'
import { freshRoom } from '../support/client.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { dyingStore } from '../support/dying-store.js'
import { append, openStore, readAll } from '../support/store.js'

const STEPS_MAX = 10
const USER = 'bob'

const cluster = await startCluster(t)
// Not as the service's user: the check scans.
const healthy = await openStore(t, cluster, {}, redisTarget(cluster.urls))
const ignore = (): void => undefined
const dialogs = new Dialogs(healthy.cluster, new ReadMarks(healthy.cluster, ignore), ignore)

const dying = (writes: number): ReturnType<typeof dyingStore> =>
  dyingStore(healthy.cluster, writes, { lostPatienceMs: 0 })

/** The kinds of what the check finds. With `isRepairing`, all of it must be mended. */
async function check(t: Test, room: string, isRepairing = false): Promise<FindingKind[]> {
  const { findings } = await checkRoom(healthy, room, { isRepairing })
  if (isRepairing) {
    for (const { kind, count, mended } of findings) t.equal(mended, count, `${kind} is mended`)
  }
  return findings.map(({ kind }) => kind)
}

/** What somebody sees of a room, and whether the lists and the room agree. */
async function stateOf(room: string): Promise<{
  isMember: boolean
  isListed: boolean
  dialog: { read: number; unread: number } | undefined
}> {
  const [isMember, isListed, page] = await Promise.all([
    healthy.store.users.get(room, USER).then(count => count !== undefined),
    dialogs.get(USER, room).then(ms => ms !== undefined),
    healthy.store.inbox.page(USER, undefined, 1000, 1e7)
  ])
  return { isMember, isListed, dialog: page.dialogs.find(dialog => dialog.room === room) }
}

/** @returns after how many writes the operation is over, and what was found after each of them */
async function atEachStep(
  t: Test,
  prepare: (room: string) => Promise<unknown>,
  act: (store: Store, room: string) => Promise<unknown>,
  after: (t: Test, state: Awaited<ReturnType<typeof stateOf>>, room: string) => unknown
): Promise<string[]> {
  const found: string[] = []
  for (let writes = 0; writes < STEPS_MAX; writes++) {
    const room = freshRoom()
    await prepare(room)
    const { store, hasDied } = dying(writes)
    const done = act(store, room).then(() => store.settled())
    done.catch(ignore)
    const isOver = await Promise.race([done.then(() => true), hasDied.then(() => false)])
    const { isMember, isListed, dialog } = await stateOf(room)
    t.notOk(isListed && !isMember, `after ${writes} writes, the room is listed for members only`)
    if (!isMember || isListed) t.equal(isListed, dialog !== undefined)
    found.push((await check(t, room)).join(' '))
    await check(t, room, true)
    t.strictSame(await check(t, room), [], `after ${writes} writes it is mended`)
    t.equal((await stateOf(room)).isListed, isMember, 'members have it in their list')
    await act(healthy.store, room)
    await healthy.store.listUpdates.allSettled()
    await after(t, await stateOf(room), room)
    t.strictSame(await check(t, room), [], `after ${writes} writes it is right when repeated`)
    if (isOver) return found
  }
  throw new Error('The operation takes more writes than expected')
}

t.test('an invitation', async t => {
  const found = await atEachStep(
    t,
    room => append(healthy.store, room, 'ann', 'hello'),
    (store, room) => store.members.join(room, USER),
    (t, state) => {
      t.match(state, { isMember: true, isListed: true, dialog: { read: 0, unread: 1 } })
    }
  )
  t.strictSame(found, ['', 'unlisted', '', ''])
})

t.test('a removal', async t => {
  const found = await atEachStep(
    t,
    async room => {
      await append(healthy.store, room, USER, 'hello')
      await healthy.store.listUpdates.allSettled()
    },
    (store, room) => store.members.leave(room, USER),
    (t, state) => {
      t.match(state, { isMember: false, isListed: false, dialog: undefined })
    }
  )
  t.strictSame(found, ['', 'unlisted', '', '', ''])
})

t.test('a mark', async t => {
  const found = await atEachStep(
    t,
    async room => {
      await append(healthy.store, room, 'ann', 'hello')
      await append(healthy.store, room, 'ann', 'again')
      await healthy.store.members.join(room, USER)
    },
    (store, room) => store.inbox.markRead(USER, room, 1),
    (t, state) => {
      t.match(state, { isMember: true, isListed: true, dialog: { read: 1, unread: 1 } })
    }
  )
  t.strictSame(found, ['', '', ''])
})

t.test('a message', async t => {
  const found = await atEachStep(
    t,
    async () => undefined,
    (store, room) => append(store, room, USER, 'hello'),
    (t, state) => {
      t.match(state, { isMember: true, isListed: true, dialog: { read: 0, unread: 0 } })
    }
  )
  // Numbered, appended, refused because the room has no log yet, committed, listed, told.
  t.strictSame(found, ['', '', 'orphan', 'orphan', 'unlisted', '', ''])
})

t.test('a message with a key is stored once, whenever the first process died', async t => {
  const found = await atEachStep(
    t,
    async () => undefined,
    (store, room) => append(store, room, USER, 'hello', 'a key'),
    async (t, _state, room) => {
      t.match(await readAll(healthy.store, room), { length: 1, 0: { text: 'hello' } })
    }
  )
  t.strictSame(found, ['', '', 'orphan', 'orphan', 'unlisted', '', ''])
})

const CHANGED = { seq: 1, author: USER, once: 'a key' }
const twoMessages = async (room: string): Promise<void> => {
  await append(healthy.store, room, USER, `first of ${room}`)
  await append(healthy.store, room, USER, 'second')
  await healthy.store.listUpdates.allSettled()
}

t.test('a change', async t => {
  const found = await atEachStep(
    t,
    twoMessages,
    async (store, room) => {
      const [before] = await readAll(healthy.store, room)
      t.match(before, { seq: 1, text: new RegExp(`^first of ${room}|changed$`) })
      return await store.change({ ...CHANGED, room, text: 'changed' })
    },
    async (t, _state, room) => {
      const [first, second, ...changes] = await readAll(healthy.store, room)
      t.match([first, second], [{ text: 'changed' }, { text: 'second' }])
      t.ok(changes.length === 1 || changes.length === 2, `${changes.length} changes are told`)
      for (const change of changes) t.match(change, { changes: 1, text: 'changed' })
      t.notOk((await everythingIn(cluster)).includes(`first of ${room}`), 'the first text is gone')
    }
  )
  // Applied, then told.
  t.strictSame(found, ['', 'untold', ''])
})

t.test('a deletion', async t => {
  for (const once of [undefined, 'a key']) {
    const found = await atEachStep(
      t,
      twoMessages,
      (store, room) =>
        store.change({ ...CHANGED, room, once, text: undefined }).catch((error: unknown) => {
          const isDone = error instanceof DialogsError && error.code === 'MESSAGE_DELETED'
          if (!isDone) throw error
        }),
      async (t, _state, room) => {
        const [first, second, ...changes] = await readAll(healthy.store, room)
        t.match([first, second], [{ deleted: true }, { text: 'second' }])
        t.ok(changes.length === 1 || changes.length === 2, `${changes.length} changes are told`)
        for (const change of changes) t.match(change, { changes: 1, text: undefined })
        t.notOk((await everythingIn(cluster)).includes(`first of ${room}`), 'the text is nowhere')
      }
    )
    t.strictSame(found, ['', 'untold', ''])
  }
})

t.test('a text left by a process that died stays after a deletion until the check', async t => {
  const room = freshRoom()
  const text = `text of ${room}`
  const { store, hasDied } = dying(2)
  append(store, room, USER, text, 'a key').catch(ignore)
  await hasDied
  const { message } = await append(healthy.store, room, USER, text, 'a key')
  await healthy.store.settled()
  await healthy.store.change({
    ...CHANGED,
    room,
    seq: message.seq,
    once: undefined,
    text: undefined
  })
  t.match(await readAll(healthy.store, room), { 0: { deleted: true } }, 'no reader sees it')
  t.strictSame(await check(t, room), ['orphan'], 'the check finds it')
  t.ok((await everythingIn(cluster)).includes(text))
  await check(t, room, true)
  t.notOk((await everythingIn(cluster)).includes(text), 'and --repair removes it')
  t.strictSame(await check(t, room), [])
})
