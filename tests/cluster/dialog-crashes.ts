// A process dies between any two steps of an invitation, a removal, a read mark or a message. It
// leaves the state that the code promises, the check finds it, --repair fixes it, and repeating the
// operation puts it right.
import t, { type Test } from 'tap'
import { Findings } from '../../src/cli/check/finding.js'
import { Lists } from '../../src/cli/check/lists.js'
import { Dialogs } from '../../src/store/dialogs.js'
import { ReadMarks } from '../../src/store/read-marks.js'
import { type Store } from '../../src/store/store.js'
import { freshRoom } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { dyingStore } from '../support/dying-store.js'
import { append, openStore } from '../support/store.js'

const STEPS_MAX = 10
const USER = 'bob'

const cluster = await startCluster(t)
const healthy = await openStore(t, cluster)
const ignore = (): void => undefined
const dialogs = new Dialogs(healthy.cluster, new ReadMarks(healthy.cluster, ignore), ignore)

const dying = (writes: number): ReturnType<typeof dyingStore> =>
  dyingStore(healthy.cluster, writes, { lostPatienceMs: 0 })

async function unlisted(room: string, isRepairing: boolean): Promise<readonly string[]> {
  const findings = new Findings()
  await new Lists(healthy.cluster).check(room, [USER], { settleMs: 0, isRepairing }, findings)
  return findings.list().flatMap(({ examples }) => examples)
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

async function atEachStep(
  t: Test,
  prepare: (room: string) => Promise<unknown>,
  act: (store: Store, room: string) => Promise<unknown>,
  after: (t: Test, state: Awaited<ReturnType<typeof stateOf>>, room: string) => void
): Promise<number> {
  for (let writes = 0; writes < STEPS_MAX; writes++) {
    const room = freshRoom()
    await prepare(room)
    const { store, hasDied } = dying(writes)
    const done = act(store, room).then(() => store.settled())
    const isOver = await Promise.race([done.then(() => true), hasDied.then(() => false)])
    const { isMember, isListed, dialog } = await stateOf(room)
    t.notOk(isListed && !isMember, `after ${writes} writes, the room is listed for members only`)
    if (isMember && !isListed) {
      t.strictSame(await unlisted(room, false), [USER], `after ${writes} writes it is found`)
      t.strictSame(await unlisted(room, true), [USER])
      t.ok((await stateOf(room)).isListed, 'and mended')
    } else t.equal(isListed, dialog !== undefined)
    await act(healthy.store, room)
    await healthy.store.touches.allSettled()
    after(t, await stateOf(room), room)
    if (isOver) return writes
  }
  throw new Error('The operation takes more writes than expected')
}

t.test('an invitation', async t => {
  const steps = await atEachStep(
    t,
    room => append(healthy.store, room, 'ann', 'hello'),
    (store, room) => store.members.join(room, USER),
    (t, state) => {
      t.match(state, { isMember: true, isListed: true, dialog: { read: 0, unread: 1 } })
    }
  )
  t.equal(steps, 3)
})

t.test('a removal', async t => {
  const steps = await atEachStep(
    t,
    async room => {
      await append(healthy.store, room, USER, 'hello')
      await healthy.store.touches.allSettled()
    },
    (store, room) => store.members.leave(room, USER),
    (t, state) => {
      t.match(state, { isMember: false, isListed: false, dialog: undefined })
    }
  )
  t.equal(steps, 4)
})

t.test('a mark', async t => {
  const steps = await atEachStep(
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
  t.equal(steps, 2)
})

t.test('a message', async t => {
  const steps = await atEachStep(
    t,
    async () => undefined,
    (store, room) => append(store, room, USER, 'hello'),
    (t, state) => {
      t.match(state, { isMember: true, isListed: true, dialog: { read: 0, unread: 0 } })
    }
  )
  t.ok(steps >= 4)
})
