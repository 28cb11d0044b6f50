// Whether readers have what the log has. They may disagree for a while, because readers learn that
// a log was rewound when their process next looks at it. At the end they must agree.
import { headOf, type Stored, storedLog } from './durability.js'
import { type Entry as Seen, type RoomReader } from './room-reader.js'
import { type World } from './world.js'

/** A difference between what readers have and what the log has; undefined if they agree. */
export function disagreementIn(world: World): string | undefined {
  const { plan, readers } = world
  for (const room of plan.rooms) {
    const here = readers.filter(({ seen }) => seen.has(room))
    const head = headOf(world, room)
    const behind = here.find(({ seen }) => (seen.get(room)?.next ?? head + 1) !== head + 1)
    if (behind !== undefined) {
      return `${behind.name} is at ${(behind.seen.get(room)?.next ?? 0) - 1} of ${room}, whose head is ${head}`
    }
    if (here.length === 0) continue
    const log = storedLog(world, room, plan.service.segmentLength)
    for (const reader of here) {
      const found = disagreementOf(world, reader, room, log)
      if (found !== undefined) return found
    }
  }
  return undefined
}

function disagreementOf(
  { oracle }: World,
  reader: RoomReader,
  room: string,
  log: readonly Stored[]
): string | undefined {
  const seen = reader.seen.get(room)
  if (seen?.first === undefined) return undefined
  const { first } = seen
  for (const [index, has] of seen.entries.entries()) {
    const seq = first + index
    const stored = log[seq - 1]
    const said = (there: string): string =>
      `${reader.name} has ${room} ${seq} as ${textOf(has)}, and the log has ${there}`
    if (stored === undefined) return said('nothing')
    if (stored.isGone) return said('been deleted with it')
    // The reader was told that the message was lost, and it may have been put back since.
    if (has.kind === 'lost') continue
    if (stored.change !== undefined) {
      if (has.kind !== 'change' || has.changes !== stored.change.seq) {
        return said(`a change of ${stored.change.seq}`)
      }
      continue
    }
    const isLost = stored.text === undefined && !stored.isDeleted
    // A message that a reader has may be lost later, with more nodes than promised. Acknowledged
    // messages are checked elsewhere.
    if (isLost && oracle.upheavals > 0) continue
    if (oracle.changes.isExcused(room, stored)) continue
    if (has.kind === 'change') return said(stored.text ?? 'a deletion')
    const isTold =
      stored.changes === 0 ||
      log.some(({ change }) => change?.seq === seq && change.n === stored.changes)
    const now = seen.now.get(seq)
    if (isTold ? now !== stored.text : now !== stored.original && now !== stored.text) {
      // If several changes were applied and only some were announced, the reader may show any of
      // them.
      if (!isTold && now !== undefined && oracle.changes.mayBe(room, seq, now)) continue
      return `${said(stored.text ?? (isLost ? 'lost' : 'a deletion'))}; what it was told says ${now ?? 'a deletion'}`
    }
  }
  return undefined
}

const textOf = (entry: Seen): string =>
  entry.kind === 'message'
    ? entry.text
    : entry.kind === 'change'
      ? `a change of ${entry.changes}`
      : entry.kind
