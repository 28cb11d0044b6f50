// Checks what is stored: finds the cluster and its rooms, checks one room after the other, and
// reports. The checks themselves are in src/cli/check/.
import { type Config } from '../config.js'
import { messageOf } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { type Log } from '../store/log.js'
import { Store } from '../store/store.js'
import { forEachAtOnce } from './check/at-once.js'
import { type CheckCliOptions, HELP, readCheckOptions } from './check/check-options.js'
import { Report } from './check/report.js'
import { RoomCheck, workOf } from './check/room-check.js'
import { findKeys, findRooms, groupsOf } from './check/survey.js'
import { openTarget } from './check/target.js'
import { runCommand, UsageError } from './options.js'
import { Progress } from './progress.js'
import { readSettings } from './settings.js'

const EXIT_WRONG = 1
const EXIT_INTERRUPTED = 130
/** References of a room that are held in memory at a time: 12 MB, plus what their blocks take. */
const REFERENCES_MAX = 500_000
/** Blocks whose names are held in memory at a time, of about 100 bytes each. */
const BLOCKS_MAX = 500_000
const HEADS_AT_ONCE = 64
/** A service needs less time than this, after its deadline, to count what it has committed. */
const SETTLE_MS = 1000

await runCommand(async args => {
  const config = readSettings()
  const options = readCheckOptions(args, config.cluster.storeDeadlineMs)
  if (options.isHelp) {
    console.log(HELP)
    return 0
  }
  // An embedded cluster that was started for the check ends with this process.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => process.exit(EXIT_INTERRUPTED))
  }
  const report = new Report(options.isJson, text => {
    process.stdout.write(text)
  })
  try {
    const { cluster, close } = await openTarget(config, line => {
      console.error(line)
    })
    try {
      await check(cluster, config, options, report)
    } finally {
      await close()
    }
  } catch (error) {
    if (error instanceof UsageError) throw error
    console.error(`The check could not be finished: ${messageOf(error)}`)
    return EXIT_WRONG
  }
  return report.violations === 0 ? 0 : EXIT_WRONG
})

async function check(
  cluster: Cluster,
  config: Config,
  { room, isRepairing, orphanAgeMs }: CheckCliOptions,
  report: Report
): Promise<void> {
  const store = new Store(cluster, {
    ...config.store,
    ...config.cluster,
    publish: () => undefined,
    onFault: () => undefined
  })
  const { log } = store
  const rooms = room === undefined ? await findRooms(cluster) : new Map([[room, 0]])
  const progress = new Progress({ unit: 'entries', total: await workFor(log, rooms.keys()) })
  let done = 0
  let violations = 0
  const roomOptions = {
    isRepairing,
    orphanAgeMs,
    settleMs: config.cluster.storeDeadlineMs + SETTLE_MS,
    clean: (room: string) => store.cleaner.clean(room),
    seal: (room: string) => store.sealer.seal(room),
    referencesMax: REFERENCES_MAX,
    onProgress: (entries: number) => {
      done += entries
      progress.update(done, violations)
    }
  }
  try {
    for (const group of groupsOf(new Map([...rooms].sort()), BLOCKS_MAX)) {
      for (const [room, keys] of await findKeys(cluster, group)) {
        report.add(await new RoomCheck(cluster, log, room, keys, roomOptions).run())
        violations = report.violations
      }
    }
  } finally {
    progress.stop()
  }
  report.end()
}

async function workFor(log: Log, rooms: Iterable<string>): Promise<number> {
  let work = 0
  await forEachAtOnce(rooms, HEADS_AT_ONCE, async room => {
    const head = (await log.head(room))?.seq ?? 0
    work += workOf(head, REFERENCES_MAX)
  })
  return work
}
