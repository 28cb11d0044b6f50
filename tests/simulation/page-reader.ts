// A client that reads a page of the newest messages. The page must be ascending and without a hole.
// It must show nothing that nobody wrote, and nothing whose deletion was answered before the page
// was asked for.
import { type Entry, isChange, isDeleted, isLost } from '../../src/message/message.js'
import { type LogEntry } from '../../src/store/pieces.js'
import { type Page } from './plan.js'
import { type World } from './world.js'

export function readPage(world: World, { instance, room, limit }: Page): void {
  const place = world.instances[instance]
  if (place === undefined) return
  world.time.after(
    0.1,
    () => {
      const { now } = world.time
      const store = place.service?.store
      const page = store
        ?.pageLog({ room, limit })
        .then(async ({ log }) => ({ log, entries: await store.history.entries(room, log) }))
      page?.then(
        ({ log, entries }) => {
          checkReplicated(world, room, log)
          world.trace.note(`a page of ${room}: ${entries.map(({ seq }) => seq).join(' ')}`)
          for (const [index, entry] of entries.entries()) {
            if (entry.seq !== (entries[0]?.seq ?? 0) + index) {
              world.oracle.violation(`a page of ${room} has ${entry.seq} at place ${index}`)
            }
            check(world, room, entry, now)
          }
        },
        (error: unknown) => {
          world.oracle.onFault(place.name, 'page', error)
        }
      )
    },
    place.owner
  )
}

// What a page shows cannot be taken back, so a replica must have it.
function checkReplicated(world: World, room: string, log: readonly LogEntry[]): void {
  for (const { seq, reference } of log) {
    if (reference !== undefined) world.oracle.onShown(room, seq, reference)
  }
}

function check({ oracle }: World, room: string, entry: Entry, askedAt: number): void {
  const { seq } = entry
  if (oracle.upheavals === 0 && oracle.rooms.isGone(room, seq, askedAt)) {
    oracle.violation(`a page still has ${room} ${seq}, and the room was deleted`)
  }
  if (isLost(entry)) return oracle.onLost('a page', room, seq)
  if (isDeleted(entry)) {
    if (!oracle.changes.mayBeDeleted(room, seq)) {
      oracle.violation(`a page has ${room} ${seq} as deleted, and nobody has deleted it`)
    }
    return
  }
  if (isChange(entry)) oracle.changes.onSeen('a page', room, entry)
  else oracle.onSeen('a page', room, seq, entry.text)
  const message = isChange(entry) ? entry.changes : seq
  if (
    entry.text !== undefined &&
    oracle.upheavals === 0 &&
    oracle.changes.isDeleted(room, message, askedAt)
  ) {
    oracle.violation(`a page still has ${room} ${message}, which was deleted: ${entry.text}`)
  }
}
