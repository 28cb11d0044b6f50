// When everything is quiet, somebody writes to each room once more, and a new reader comes to each
// process. Everybody who follows the room must hear of the message soon, without waiting for an
// audit: all subscriptions work. A new reader is sent what messages say now.
import { storedLog } from './durability.js'
import { type Advance } from './retention-model.js'
import { RoomReader } from './room-reader.js'
import { hasToldAll, whatIsLeft } from './settling.js'
import { type World } from './world.js'
import { write } from './writer.js'

export function playEpilogue(world: World, advance: Advance): void {
  const { plan, oracle, requests, readers, instances } = world
  for (const [index, room] of plan.rooms.entries()) {
    const post = {
      kind: 'post',
      instance: index % instances.length,
      room,
      user: plan.users[index % plan.users.length] ?? '',
      text: `at last ${index}`,
      once: `last-key-${index}`
    } as const
    oracle.expect(post)
    requests.push(write(world, post))
  }
  const newcomers = instances.map(
    (_, instance) =>
      new RoomReader(world, `newcomer-${instance}`, {
        kind: 'read',
        instance,
        rooms: plan.rooms,
        last: undefined,
        bytesPerMs: Infinity
      })
  )
  readers.push(...newcomers)
  // A deletion that its process has abandoned may be taken over much later.
  if (!advance(() => hasToldAll(world))) {
    oracle.violation(`a message after everything was quiet: ${whatIsLeft(world)}`)
  }
  for (const newcomer of newcomers) {
    for (const room of plan.rooms) checkTexts(world, newcomer, room)
    newcomer.source.close()
    readers.splice(readers.indexOf(newcomer), 1)
  }
}

// As long as a change was not told, a process may not know of it. Nor if it had not heard of the
// change yet when the newcomer was live: then it tells the change afterwards.
function checkTexts(world: World, { name, seen }: RoomReader, room: string): void {
  const { first = 1, entries = [], firstHead = 0 } = seen.get(room) ?? {}
  const log = storedLog(world, room, world.plan.service.segmentLength)
  for (const [index, entry] of entries.entries()) {
    const seq = first + index
    const stored = log[seq - 1]
    if (entry.kind !== 'message' || stored === undefined || stored.changes === 0) continue
    const told = log.findIndex(({ change }) => change?.seq === seq && change.n === stored.changes)
    const isTold = told >= 0 && told < firstHead
    if (!isTold || stored.text === entry.text) continue
    if (world.oracle.changes.isExcused(room, stored)) continue
    world.oracle.violation(
      `${name} is sent ${entry.text} as ${room} ${seq}, which is ${stored.text ?? 'deleted'} now`
    )
  }
}
