// Checks one room as `npm run check` does, through a test's own connections. Unless the test says
// otherwise, nothing is repaired, and even what was written a moment ago is checked.
import assert from 'node:assert/strict'
import {
  RoomCheck,
  type RoomCheckOptions,
  type RoomReport
} from '../../src/cli/check/room-check.js'
import { findKeys } from '../../src/cli/check/survey.js'
import { type TestStore } from './store.js'

export async function checkRoom(
  { store, cluster }: Pick<TestStore, 'store' | 'cluster'>,
  room: string,
  options: Partial<RoomCheckOptions> = {}
): Promise<RoomReport> {
  const keys = (await findKeys(cluster, [room])).get(room)
  assert.ok(keys, `${room} has no keys`)
  return await new RoomCheck(cluster, store.log, room, keys, {
    clean: room => store.cleaner.clean(room),
    seal: room => store.sealer.seal(room),
    isRepairing: false,
    orphanAgeMs: -1000,
    settleMs: -1000,
    referencesMax: 1_000_000,
    onProgress: () => undefined,
    ...options
  }).run()
}
