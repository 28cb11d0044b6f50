// Changes under faults: a process or its connections die between two steps, or a master is killed
// after the answer. A change happens once, and what was deleted does not come back.
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { parseReference } from '../../src/message/message.js'
import { slotOf } from '../../src/redis/slots.js'
import { blockKey, changedKey, logKey, roomSlot } from '../../src/store/keys.js'
import { freshRoom } from '../support/client.js'
import { everythingIn, startCluster } from '../support/embedded.js'
import { Gate } from '../support/gate.js'
import { append, openStore, readAll, type TestStore } from '../support/store.js'
import { until } from '../support/until.js'

const embedded = await startCluster(t)

const changedLength = async ({ cluster }: TestStore, key: string): Promise<number> =>
  Number(await cluster.command(slotOf(key), ['HLEN', changedKey(key)]))

for (const { what, isKeyed, isDeletion } of [
  { what: 'a keyed change', isKeyed: true, isDeletion: false },
  { what: 'a keyed deletion', isKeyed: true, isDeletion: true },
  { what: 'a deletion without a key', isKeyed: false, isDeletion: true }
]) {
  t.test(
    `${what} whose process died after it applied it is announced by its repetition`,
    async t => {
      const gate = await Gate.open(t, embedded.urls)
      const [dying, other] = await Promise.all([
        openStore(t, embedded, {}, { addressMap: gate.addressMap }),
        openStore(t, embedded)
      ])
      const room = freshRoom()
      const user = `u-${randomUUID().slice(0, 8)}`
      const change = {
        room,
        seq: 1,
        author: user,
        text: isDeletion ? undefined : 'new',
        once: isKeyed ? 'k' : undefined
      }
      await append(dying.store, room, user, 'old')
      // From here on the node knows the script, so no held reply can ask for its text.
      await append(other.store, room, user, 'another')
      await other.store.change({ ...change, seq: 2, once: undefined })
      const block = blockKey(room, `${user}.0`)
      gate.hold(changedKey(block))
      const lost = dying.store.change(change)
      await until('it is applied', async () => (await changedLength(other, block)) === 2)
      dying.cluster.close()
      await t.rejects(lost, { code: 'STORE_UNAVAILABLE' })
      t.equal(await other.store.head(room), 3, 'nobody was told')
      t.match(await other.store.change(change), { seq: 4, changes: 1, text: change.text })
      t.equal(await other.store.head(room), 4)
      if (isKeyed) t.match(await other.store.change(change), { seq: 4 })
      else await t.rejects(other.store.change(change), { code: 'MESSAGE_DELETED' })
      t.equal(await other.store.head(room), 4)
      t.notOk((await everythingIn(embedded)).includes(`"old"`))
    }
  )

  t.test(`${what} happens once, whichever step the connections break at`, async t => {
    for (const step of ['apply', 'commit']) {
      const gate = await Gate.open(t, embedded.urls)
      const [broken, other] = await Promise.all([
        openStore(t, embedded, {}, { addressMap: gate.addressMap }),
        openStore(t, embedded)
      ])
      const room = freshRoom()
      const user = `u-${randomUUID().slice(0, 8)}`
      // From here on the nodes know the scripts, so no held reply can ask for their text.
      await append(other.store, room, user, 'first')
      await append(other.store, room, user, 'second', 'k0')
      await other.store.change({ room, seq: 1, text: '1', author: user, once: undefined })
      await append(other.store, room, user, 'old')
      const block = blockKey(room, `${user}.0`)
      gate.hold(step === 'apply' ? changedKey(block) : '~4.1.')
      const changing = broken.store.change({
        room,
        seq: 4,
        author: user,
        text: isDeletion ? undefined : 'new',
        once: isKeyed ? 'k' : undefined
      })
      await until('the command is carried out', async () =>
        step === 'apply'
          ? (await changedLength(other, block)) === 2
          : (await other.store.head(room)) === 5
      )
      gate.cut()
      t.match(await changing, { seq: 5, changes: 4 }, step)
      t.equal(await other.store.head(room), 5, step)
      const [entry] = await other.store.log.range(room, 5, 5)
      t.match(parseReference(entry?.reference ?? ''), { change: { seq: 4, n: 1 } }, step)
    }
  })
}

t.test('masters are killed after a deletion was answered: the text does not come back', async t => {
  const world = await openStore(t, embedded)
  const { store, cluster } = world
  const room = freshRoom()
  const user = `u-${randomUUID().slice(0, 8)}`
  const secret = `secret ${randomUUID()}`
  await append(store, room, user, secret)
  await append(store, room, user, 'stays')
  await store.change({ room, seq: 1, text: `${secret} 2`, author: user, once: undefined })
  await store.change({ room, seq: 1, text: undefined, author: user, once: 'k' })
  for (const slot of [slotOf(blockKey(room, `${user}.0`)), roomSlot(room)]) {
    const owner = cluster.topology.ownerOf(slot) ?? '?'
    const node = embedded.nodes.find(({ url }) => url.endsWith(owner))
    await node?.kill('SIGKILL')
    await until(
      'its replica has taken over',
      async () => {
        await cluster.refresh().catch(() => undefined)
        return cluster.topology.ownerOf(slot) !== owner
      },
      60_000
    )
    t.match(await readAll(store, room), [
      { seq: 1, deleted: true },
      { seq: 2, text: 'stays' },
      { seq: 3, changes: 1, text: undefined },
      { seq: 4, changes: 1, text: undefined }
    ])
    await node?.start()
    await until('it is a replica that has everything', async () => {
      const everything = await everythingIn(embedded).catch(() => '')
      return everything.split(logKey(room)).length > 2
    })
    t.notOk((await everythingIn(embedded)).includes(secret))
  }
  await store.change({ room, seq: 2, text: 'changed', author: user, once: undefined })
  t.match(await readAll(store, room), { 1: { text: 'changed' }, 4: { changes: 2 } })
})
