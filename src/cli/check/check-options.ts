// The options of the check: what is allowed, within which limits, and the help text.
import { readName, readNumber, readOptions } from '../options.js'

const ORPHAN_AGE_S = 3600

export const HELP = `Checks what is stored: that each room's log goes from 1 to its head without a hole, that every
reference has its message and none occurs twice, that counters are right, and that segments equal
the log. The service and writers may keep running.

  npm run check -- --room room123

  --room NAME           one room; default all
  --repair              corrects counters, removes old orphans (entries that no log refers to),
                        finishes half-done sealing and deletions of rooms, and gives an expiry to
                        keys that lack the one of RETENTION_DAYS
  --orphan-age SECONDS  an entry without a reference that is younger may still be committed, and
                        stays; default ${ORPHAN_AGE_S}, and never less than twice STORE_DEADLINE_MS
  --json                the report as JSON
  --help

It checks the cluster of REDIS_NODES, or the embedded one in DATA_DIR. If that is not running, it is
started for the check and stopped again. BLOCK_LENGTH, SEGMENT_LENGTH, RETENTION_DAYS and
RETENTION_DAYS_BY_PREFIX must be those of the service: without the last two, messages that have
expired would count as lost.

Exit status: 0 nothing is wrong (orphans alone do not count), 1 something is wrong or could not be
checked, 2 wrong usage.`

export type CheckCliOptions = ReturnType<typeof readCheckOptions>

/** @throws UsageError */
export function readCheckOptions(args: readonly string[], deadlineMs: number) {
  const values = readOptions(args, {
    room: { type: 'string' },
    repair: { type: 'boolean', default: false },
    'orphan-age': { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false }
  })
  const ageMin = (2 * deadlineMs) / 1000
  const orphanAge = readNumber('orphan-age', values['orphan-age'], {
    min: ageMin,
    max: 1e9,
    isFraction: true
  })
  return {
    room: values.room === undefined ? undefined : readName('room', values.room),
    isRepairing: values.repair,
    orphanAgeMs: 1000 * (orphanAge ?? Math.max(ageMin, ORPHAN_AGE_S)),
    isJson: values.json,
    isHelp: values.help
  }
}
