// `npm run accept-loss -- --yes`: the operator accepts that data which Redis has lost is gone (503
// STORE_LOST). Restores the service's marker keys (src/redis/markers.ts). A service that was
// refusing requests continues within seconds.
import { messageOf } from '../errors.js'
import { openTarget } from './check/target.js'
import { readOptions, runCommand, UsageError } from './options.js'
import { readSettings } from './settings.js'

const HELP = `Gives up the data that Redis has lost, so that the service works again with what is left.

Use it only if the data cannot be restored from a replica or a backup. Rooms whose log is lost start
again with message 1, and their readers get a "reset". If a node of a stopped embedded cluster has
lost its files, it gets another node's copy, and its remains are moved aside. Afterwards,
npm run check -- --repair corrects what is inconsistent.

  npm run accept-loss -- --yes

  --yes     required: without it, nothing is done
  --help

It works on the cluster of REDIS_NODES, or on the embedded one in DATA_DIR.`

async function acceptLoss(args: readonly string[]): Promise<number> {
  const { yes, help } = readOptions(args, {
    yes: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false }
  })
  if (help) {
    console.log(HELP)
    return 0
  }
  if (!yes) throw new UsageError('Add --yes to accept the loss of what Redis has lost.')
  try {
    const report = (line: string): void => {
      console.error(line)
    }
    const { cluster, close } = await openTarget(readSettings(), report, true)
    try {
      await cluster.acceptLoss()
    } finally {
      await close()
    }
  } catch (error) {
    if (error instanceof UsageError) throw error
    console.error(`The loss could not be accepted: ${messageOf(error)}`)
    return 1
  }
  console.log('The loss is accepted: the service continues with the data that Redis has now.')
  return 0
}

await runCommand(acceptLoss)
