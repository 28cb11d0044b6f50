// The cluster command: shows the cluster, and changes it while the service runs. This file only
// selects what to do and turns the result into an exit status; src/cli/cluster/ has a file for each
// command.
import { readConfig } from '../config.js'
import { SettingError } from '../config/kinds.js'
import { DialogsError } from '../errors.js'
import { runAdd, runFailover, runRemove } from './cluster/member-commands.js'
import { HELP, type Order, readClusterOptions } from './cluster/cluster-options.js'
import { runMove } from './cluster/move-commands.js'
import { Interrupted, Refusal, Stuck } from './cluster/refusal.js'
import { Session } from './cluster/session.js'
import { runStatus } from './cluster/status-command.js'
import { ConnectionLost, isRedisError } from '../redis/connection.js'
import { runCommand } from './options.js'

const EXIT_REFUSED = 1
const EXIT_INTERRUPTED = 130

async function run(session: Session, order: Order): Promise<number> {
  switch (order.name) {
    case 'status':
      return await runStatus(session, order)
    case 'add':
      await runAdd(session, order)
      return 0
    case 'remove':
      await runRemove(session, order)
      return 0
    case 'failover':
      await runFailover(session, order)
      return 0
    default:
      await runMove(session, order)
      return 0
  }
}

await runCommand(async args => {
  const { order, ...options } = readClusterOptions(args)
  if (order === 'help') {
    console.log(HELP)
    return 0
  }
  let session: Session | undefined
  try {
    session = await Session.open(readConfig(), options)
    return await run(session, order)
  } catch (error) {
    if (error instanceof Interrupted) {
      console.error(error.message)
      return EXIT_INTERRUPTED
    }
    if (!isExpected(error)) throw error
    console.error(error instanceof ConnectionLost ? brokenOff(error) : error.message)
    return EXIT_REFUSED
  } finally {
    session?.close()
  }
})

// A node died between two steps. While slots move, mover.ts overcomes that.
const brokenOff = ({ message }: ConnectionLost): string =>
  `${message}. Nothing is lost: see what has become of that node (npm run cluster -- status), then run the same command again.`

// Errors whose message explains them. Anything else is a bug, and is shown with its stack.
function isExpected(error: unknown): error is Error {
  return (
    [Refusal, Stuck, SettingError, DialogsError, ConnectionLost].some(
      kind => error instanceof kind
    ) || isRedisError(error)
  )
}
