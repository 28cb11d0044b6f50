// `npm run erase`: erases a room (`-- --room R`), or everything that a user has written, with their
// memberships, read marks and list (`-- --user U`). It does what the service does, on the same
// Redis, so services may keep running, and their readers are told. Run again, it finishes what was
// interrupted.
import { type Config } from '../config.js'
import { DialogsError, messageOf } from '../errors.js'
import { isMessage, parseReference } from '../message/message.js'
import { type Cluster } from '../redis/cluster.js'
import { slotOf } from '../redis/slots.js'
import { Publisher } from '../store/publisher.js'
import { Store } from '../store/store.js'
import { forEachAtOnce } from './check/at-once.js'
import { entryIds } from './check/entry-ids.js'
import { entryIdOf } from './check/references.js'
import { findBlocks, findRooms } from './check/survey.js'
import { openTarget } from './check/target.js'
import { walk } from './check/walk.js'
import { readName, readOptions, runCommand, UsageError } from './options.js'
import { counted } from './progress.js'
import { readSettings } from './settings.js'

const HELP = `Erases a room, or what a user has written, for good.

  npm run erase -- --room room123 --yes
  npm run erase -- --user ann --yes

  --room NAME  the room's messages, members and read marks, as DELETE /rooms/:room does
  --user NAME  the texts of all messages of this user, in all rooms. Each message remains as a
               deleted entry without text and name, and the rooms' streams are told. The user's
               memberships, read marks and list of rooms are removed, and so are texts that a crash
               has left where no reader sees them, except those of the last moments. What the user
               writes meanwhile may remain: take away their right to write first.
  --yes        required: without it, nothing is done
  --help

A user's name remains in Redis, where no answer shows it: in references, in names of keys, in the
user's counter and in the list of those who left. If users are ids instead of names, that identifies
nobody.

It works on the cluster of REDIS_NODES, or on the embedded one in DATA_DIR, whether services are
running or not. BLOCK_LENGTH and SEGMENT_LENGTH must be those of the service. If it was interrupted,
run it again.`

const ROOMS_AT_ONCE = 16
const DELETIONS_AT_ONCE = 32
const BLOCKS_AT_ONCE = 16

await runCommand(async args => {
  const { room, user, yes, help } = readOptions(args, {
    room: { type: 'string' },
    user: { type: 'string' },
    yes: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false }
  })
  if (help) {
    console.log(HELP)
    return 0
  }
  if ((room === undefined) === (user === undefined)) {
    throw new UsageError('Say what to erase: --room NAME or --user NAME.')
  }
  if (!yes) throw new UsageError('Add --yes to erase it for good.')
  try {
    readName(room === undefined ? 'user' : 'room', room ?? user ?? '')
    const config = readSettings()
    const { cluster, close } = await openTarget(config, line => {
      console.error(line)
    })
    try {
      return await erase(cluster, config, room, user ?? '')
    } finally {
      await close()
    }
  } catch (error) {
    if (error instanceof UsageError) throw error
    console.error(`It was not erased, or not completely (run it again): ${messageOf(error)}`)
    return 1
  }
})

async function erase(
  cluster: Cluster,
  config: Config,
  room: string | undefined,
  user: string
): Promise<number> {
  const faults: unknown[] = []
  const onFault = (error: unknown): void => {
    faults.push(error)
  }
  const publisher = new Publisher(cluster, onFault)
  const store = new Store(cluster, {
    ...config.store,
    ...config.cluster,
    lostPatienceMs: 0,
    publish: (room, entries) => {
      publisher.publish(room, entries)
    },
    onFault: (_what, error) => {
      onFault(error)
    }
  })
  if (room === undefined) await eraseUser(cluster, store, user, config.cluster.storeDeadlineMs)
  else {
    const { seq } = await store.deletions.delete(room)
    await store.cleaner.clean(room)
    console.log(`${room}: erased up to ${seq}`)
  }
  await store.settled()
  await publisher.settled()
  for (const error of faults) console.error(messageOf(error))
  return faults.length === 0 ? 0 : 1
}

async function eraseUser(
  cluster: Cluster,
  store: Store,
  user: string,
  deadlineMs: number
): Promise<void> {
  // Younger entries may belong to messages that are just being written.
  const beforeMs = Date.now() - 2 * deadlineMs
  let texts = 0
  let rooms = 0
  await forEachAtOnce((await findRooms(cluster)).keys(), ROOMS_AT_ONCE, async room => {
    const isMember = await store.members.isMemberNow(room, user)
    // A crash may have left the room in their list although they are no longer a member.
    const isListed = await store.inbox.has(user, room)
    const erased = await eraseTexts(store, room, user)
    if (isMember || isListed) await store.members.leave(room, user)
    if (erased > 0) console.log(`${room}: ${erased} erased`)
    if (erased > 0 || isMember) rooms++
    texts += erased
  })
  await eraseOrphans(cluster, user, beforeMs, deadlineMs)
  console.log(`${user}: ${counted(texts, 'text')} erased in ${counted(rooms, 'room')}`)
}

// Erases texts that a process appended before it died without committing them. All committed texts
// are deleted by now, so any old text that a block still has is one of those.
async function eraseOrphans(
  cluster: Cluster,
  user: string,
  beforeMs: number,
  deadlineMs: number
): Promise<void> {
  await forEachAtOnce(await findBlocks(cluster, user), BLOCKS_AT_ONCE, async key => {
    for await (const ids of entryIds(cluster, key)) {
      const old = ids.filter(id => entryIdOf(id).ms < beforeMs)
      if (old.length === 0) continue
      // Not the block itself: the stream remembers what was deleted from it, so that no process
      // puts a text back (ENSURE).
      const deadline = performance.now() + deadlineMs
      await cluster.acknowledged(slotOf(key), ['XDEL', key, ...old], deadline)
    }
  })
}

/** Erases the user's texts in a room. @returns how many */
async function eraseTexts(store: Store, room: string, user: string): Promise<number> {
  const { log, history } = store
  const head = await store.head(room)
  let erased = 0
  for await (const page of walk(log, room, await log.first(room), head)) {
    const own = page.filter(({ reference }) => {
      const parsed = reference === undefined ? undefined : parseReference(reference)
      return parsed?.user === user && parsed.change === undefined
    })
    const there = (await history.entries(room, own)).filter(isMessage)
    await forEachAtOnce(there, DELETIONS_AT_ONCE, async ({ seq }) => {
      if (await eraseText(store, room, seq)) erased++
    })
  }
  return erased
}

async function eraseText(store: Store, room: string, seq: number): Promise<boolean> {
  try {
    await store.change({ room, seq, text: undefined, author: undefined, once: undefined })
    return true
  } catch (error) {
    // It was changed by somebody else in the meantime, or has gone with its room or by its age.
    const isGone =
      error instanceof DialogsError &&
      ['MESSAGE_DELETED', 'MESSAGE_EXPIRED', 'MESSAGE_LOST'].includes(error.code)
    if (isGone) return false
    throw error
  }
}
