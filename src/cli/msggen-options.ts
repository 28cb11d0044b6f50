// The options of the message generator: what is allowed, within which limits, and the help text.
import { randomInt } from 'node:crypto'
import { DEFAULT_USER } from './crowd.js'
import { readName, readNumber, readOptions, readUrl, UsageError } from './options.js'

const COUNT_DEFAULT = 1000

export const HELP = `Posts messages to a room, as one very busy user or as many, and reports rate, errors and latency.

  npm run msggen -- --room room123 --user ${DEFAULT_USER} --count 5000

Where
  --url URL          the service; default http://127.0.0.1:8080
  --room NAME        default room123
  --rooms N          N rooms in turn: NAME-1 … NAME-N
Who
  --user NAME        one user who writes everything; default ${DEFAULT_USER}
  --users N          N users of very different activity, user-1 the busiest; with --user, that one
                     is the busiest
  --zipf EXPONENT    how uneven they are: 0 all alike, 1 Zipf's law (default), up to 10
  --seed N           draws the same users again; default random, and reported
How much
  --count N          messages; default ${COUNT_DEFAULT}, or until --duration is over
  --duration SECONDS
  --rate N           messages a second, however long answers take: latency counts from the time a
                     message was due, not from when a connection was free for it; default: as fast
                     as they are answered
  --connections N    at most this many messages in flight at once; default 64
  --text-size BYTES  default 100
  --idempotent       sends an Idempotency-Key, and for 30 s repeats what failed with 5xx or got no
                     answer
  --token TOKEN      for a service that requires one (npm run token): the user's, or for many
                     users an --admin token
Afterwards
  --change PERCENT   of the messages are changed by their authors as soon as they are acknowledged
  --delete PERCENT   are deleted
Output
  --json             the summary as JSON
  --help

Exit status: 0 all acknowledged, 1 some failed, 2 wrong usage. Ctrl-C stops and waits for messages
in flight; a second one gives them up.`

/** @throws UsageError */
export function readMsggenOptions(args: readonly string[]) {
  const values = readOptions(args, {
    url: { type: 'string', default: 'http://127.0.0.1:8080' },
    room: { type: 'string', default: 'room123' },
    rooms: { type: 'string' },
    user: { type: 'string' },
    users: { type: 'string' },
    zipf: { type: 'string' },
    seed: { type: 'string' },
    count: { type: 'string' },
    duration: { type: 'string' },
    rate: { type: 'string' },
    connections: { type: 'string' },
    'text-size': { type: 'string' },
    idempotent: { type: 'boolean', default: false },
    token: { type: 'string' },
    change: { type: 'string' },
    delete: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false }
  })
  const rooms = readNumber('rooms', values.rooms, { min: 1, max: 100_000 })
  const users = readNumber('users', values.users, { min: 1, max: 1_000_000 })
  const zipf = readNumber('zipf', values.zipf, { min: 0, max: 10, isFraction: true })
  if (zipf !== undefined && users === undefined) {
    throw new UsageError('--zipf says how uneven many users are: add --users as well.')
  }
  const share = (name: 'change' | 'delete'): number =>
    readNumber(name, values[name], { min: 0, max: 100, isFraction: true }) ?? 0
  const [changedPercent, deletedPercent] = [share('change'), share('delete')]
  if (changedPercent + deletedPercent > 100) {
    throw new UsageError(
      '--change and --delete are shares of the same messages: at most 100 together.'
    )
  }
  // Otherwise the service would refuse every message.
  readName('room', rooms === undefined ? values.room : `${values.room}-${rooms}`)
  if (values.user !== undefined) readName('user', values.user)
  // A week: more does not fit into a timer.
  const seconds = readNumber('duration', values.duration, {
    min: 0.1,
    max: 604_800,
    isFraction: true
  })
  return {
    url: readUrl('url', values.url),
    room: values.room,
    rooms,
    user: values.user,
    users,
    zipf: zipf ?? 1,
    seed: readNumber('seed', values.seed, { min: 0, max: 2 ** 32 - 1 }) ?? randomInt(2 ** 32),
    count:
      readNumber('count', values.count, { min: 1, max: 1_000_000_000 }) ??
      (seconds === undefined ? COUNT_DEFAULT : undefined),
    durationMs: seconds === undefined ? undefined : seconds * 1000,
    rate: readNumber('rate', values.rate, { min: 0.1, max: 1_000_000, isFraction: true }),
    connections: readNumber('connections', values.connections, { min: 1, max: 10_000 }) ?? 64,
    // Leaves space for the running number of the last message.
    textBytes: readNumber('text-size', values['text-size'], { min: 16, max: 65_536 }) ?? 100,
    isIdempotent: values.idempotent,
    token: values.token,
    changedPercent,
    deletedPercent,
    isJson: values.json,
    isHelp: values.help
  }
}
