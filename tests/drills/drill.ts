// `npm run drill`: tests the promises on a cluster and services of its own while they are changed,
// attacked and broken. This file only selects the command.
import { BOUNDS_HELP, holdBounds } from './bounds-command.js'
import { DRILL_NAMES, DRILLS_HELP, holdDrills } from './drills-command.js'
import { FAULTS_HELP, holdFaults, holdPartitions } from './faults-command.js'
import { runCommand, UsageError } from '../../src/cli/options.js'

const HELP = `Tests the promises on a cluster and services of its own, in a temporary folder, while they are changed and broken.

${DRILLS_HELP}

${FAULTS_HELP}

${BOUNDS_HELP}

Exit status: 0 all promises kept, 1 some broken, 2 wrong usage.`

await runCommand(async ([drill, ...args]) => {
  switch (drill) {
    case 'faults':
      return await holdFaults(args)
    case 'partitions':
      return await holdPartitions(args)
    case 'bounds':
      return await holdBounds(args)
    case undefined:
    case '--help':
      console.log(HELP)
      return 0
    case 'all':
      return await holdDrills(drill, args)
    default:
      for (const name of DRILL_NAMES) if (name === drill) return await holdDrills(name, args)
      throw new UsageError(`There is no drill '${drill}'.`)
  }
})
