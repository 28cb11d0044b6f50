// The table of errors: what each error, whether it is Redis' or not, means for the command that
// received it.
import { ErrorReply } from 'redis'
import t from 'tap'
import { DialogsError } from '../../src/errors.js'
import { ConnectionLost } from '../../src/redis/connection.js'
import { isForGood, nextStep, type NextStep } from '../../src/redis/redirect.js'

const judged = (message: string): NextStep => nextStep(new ErrorReply(message), 'asked.example')

t.test('MOVED and ASK say where to go, whatever the address looks like', async t => {
  t.strictSame(judged('MOVED 3999 127.0.0.1:6381'), {
    kind: 'moved',
    slot: 3999,
    to: { host: '127.0.0.1', port: 6381 }
  })
  t.strictSame(judged('ASK 0 127.0.0.1:6381'), {
    kind: 'ask',
    to: { host: '127.0.0.1', port: 6381 }
  })
  t.strictSame(judged('MOVED 16383 ::1:6381'), {
    kind: 'moved',
    slot: 16383,
    to: { host: '::1', port: 6381 }
  })
  t.strictSame(judged('MOVED 1 redis-2.example:6381'), {
    kind: 'moved',
    slot: 1,
    to: { host: 'redis-2.example', port: 6381 }
  })
})

t.test('a redirection without a host means the host that was asked', async t => {
  t.strictSame(judged('MOVED 1 :6381'), {
    kind: 'moved',
    slot: 1,
    to: { host: 'asked.example', port: 6381 }
  })
  t.strictSame(judged('ASK 1 :6381'), { kind: 'ask', to: { host: 'asked.example', port: 6381 } })
})

t.test('a redirection without a usable address is a reason to look at the topology', async t => {
  for (const message of [
    'MOVED 1',
    'MOVED 1 ?:6381',
    'MOVED 1 somewhere',
    'ASK 1 host:0',
    'ASK 1 host:65536',
    'MOVED 1 host:'
  ]) {
    t.strictSame(judged(message), { kind: 'again', mayHaveMoved: true }, message)
  }
})

t.test(
  'a temporary error is retried, after a look at the topology if something may have moved',
  async t => {
    for (const message of [
      'ERR max number of clients reached',
      'ERR max number of clients + cluster connections reached',
      'BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.'
    ]) {
      t.strictSame(judged(message), { kind: 'again', mayHaveMoved: false }, message)
    }
    for (const message of [
      'LOADING Redis is loading the dataset in memory',
      'CLUSTERDOWN The cluster is down',
      'CLUSTERDOWN Hash slot not served',
      "READONLY You can't write against a read only replica.",
      "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
      'UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)',
      'NOREPLICAS Not enough good replicas to write.',
      'ERR Script attempted to access a non local key in a cluster node script: abc, on @user_script:3.',
      'ERR Error running script: CLUSTERDOWN The cluster is down'
    ]) {
      t.strictSame(judged(message), { kind: 'again', mayHaveMoved: true }, message)
    }
    t.strictSame(nextStep(new ConnectionLost('The connection broke'), 'x'), {
      kind: 'again',
      mayHaveMoved: true
    })
  }
)

t.test('a command whose keys are on both sides of a moving slot may be sent in parts', async t => {
  t.strictSame(judged('TRYAGAIN Multiple keys request during rehashing of slot'), {
    kind: 'half-moved'
  })
})

t.test('a script that the node does not know is sent as text', async t => {
  t.strictSame(judged('NOSCRIPT No matching script. Please use EVAL.'), { kind: 'no-script' })
})

t.test('a permanent refusal fails at once, with a code of its own', async t => {
  for (const [message, code] of [
    ["OOM command not allowed when used memory > 'maxmemory'.", 'STORE_FULL'],
    [
      "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
      'STORE_READ_ONLY'
    ],
    ['NOAUTH Authentication required.', 'STORE_DENIED'],
    ["NOPERM this user has no permissions to run the 'xadd' command", 'STORE_DENIED'],
    ['WRONGPASS invalid username-password pair or user is disabled.', 'STORE_DENIED'],
    ['WRONGTYPE Operation against a key holding the wrong kind of value', 'STORE_REFUSED'],
    ['ERR syntax error', 'STORE_REFUSED'],
    ['', 'STORE_REFUSED']
  ] as const) {
    const error = new ErrorReply(message)
    t.match(
      nextStep(error, 'x'),
      { kind: 'give-up', error: { code, statusCode: 503, cause: error } },
      message
    )
  }
})

t.test('a permanent refusal names the command, whichever version words it', async t => {
  for (const [message, code, named] of [
    [
      "NOPERM this user has no permissions to run the 'xadd' command",
      'STORE_DENIED',
      /the command XADD/
    ],
    [
      "NOPERM User chat has no permissions to run the 'cluster|nodes' command",
      'STORE_DENIED',
      /the command CLUSTER\|NODES/
    ],
    [
      'NOPERM this user has no permissions to access one of the channels used as arguments',
      'STORE_DENIED',
      /its channels/
    ],
    ['NOPERM No permissions to access a key', 'STORE_DENIED', /its keys/],
    [
      "ERR The user executing the script can't run this command or subcommand script: 7409, on @user_script:1.",
      'STORE_DENIED',
      /its keys or commands/
    ],
    [
      "ERR ACL failure in script: User chat has no permissions to run the 'hincrby' command script: 7409, on @user_script:1.",
      'STORE_DENIED',
      /the command HINCRBY/
    ],
    [
      "ERR unknown command 'WAIT', with args beginning with: '1' '500' ",
      'STORE_UNSUITABLE',
      /the command WAIT/
    ],
    [
      "ERR unknown subcommand 'SHARDS'. Try CLUSTER HELP.",
      'STORE_UNSUITABLE',
      /the command SHARDS/
    ],
    [
      'ERR Unknown Redis command called from script script: 87fc, on @user_script:1.',
      'STORE_UNSUITABLE',
      /a command of the service/
    ]
  ] as const) {
    const step = nextStep(new ErrorReply(message), 'x')
    t.match(step, { kind: 'give-up', error: { code, statusCode: 503, message: named } }, message)
    t.ok(step.kind === 'give-up' && isForGood(step.error), `${message} is permanent`)
  }
  t.notOk(isForGood(new DialogsError('STORE_FULL', 'full')), 'memory may become free')
})

t.test('an error that is not from Redis is passed on unchanged', async t => {
  for (const error of [new TypeError('mine'), 'text', undefined]) {
    t.strictSame(nextStep(error, 'x'), { kind: 'give-up', error })
  }
})
