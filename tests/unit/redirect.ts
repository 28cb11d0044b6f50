// The table of answers: what each error of Redis, and each that is not Redis', means for the command that got it.
import { ErrorReply } from 'redis'
import t from 'tap'
import { ConnectionLost } from '../../src/redis/connection.js'
import { judge, type Verdict } from '../../src/redis/redirect.js'

const judged = (message: string): Verdict => judge(new ErrorReply(message), 'asked.example')

t.test('MOVED and ASK say where to go, whatever the address looks like', async t => {
  t.strictSame(judged('MOVED 3999 127.0.0.1:6381'), { kind: 'moved', slot: 3999, to: { host: '127.0.0.1', port: 6381 } })
  t.strictSame(judged('ASK 0 127.0.0.1:6381'), { kind: 'ask', to: { host: '127.0.0.1', port: 6381 } })
  t.strictSame(judged('MOVED 16383 ::1:6381'), { kind: 'moved', slot: 16383, to: { host: '::1', port: 6381 } })
  t.strictSame(judged('MOVED 1 redis-2.example:6381'), { kind: 'moved', slot: 1, to: { host: 'redis-2.example', port: 6381 } })
})

t.test('a node that does not know its address means the host that was asked', async t => {
  t.strictSame(judged('MOVED 1 :6381'), { kind: 'moved', slot: 1, to: { host: 'asked.example', port: 6381 } })
  t.strictSame(judged('MOVED 1 ?:6381'), { kind: 'moved', slot: 1, to: { host: 'asked.example', port: 6381 } })
  t.strictSame(judged('ASK 1 :6381'), { kind: 'ask', to: { host: 'asked.example', port: 6381 } })
})

t.test('a redirection without a usable address is a reason to look at the topology', async t => {
  for (const message of ['MOVED 1', 'MOVED 1 somewhere', 'ASK 1 host:0', 'ASK 1 host:65536', 'MOVED 1 host:']) t.strictSame(judged(message), { kind: 'again', mayHaveMoved: true, isHalfMoved: false }, message)
})

t.test('what passes is tried again, where something may have moved after a look at the topology', async t => {
  for (const message of [
    'ERR max number of clients reached',
    'ERR max number of clients + cluster connections reached',
    'BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.'
  ]) t.strictSame(judged(message), { kind: 'again', mayHaveMoved: false, isHalfMoved: false }, message)
  for (const message of [
    'LOADING Redis is loading the dataset in memory',
    'CLUSTERDOWN The cluster is down',
    'CLUSTERDOWN Hash slot not served',
    'READONLY You can\'t write against a read only replica.',
    'MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to \'no\'.',
    'UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)',
    'NOREPLICAS Not enough good replicas to write.',
    'ERR Script attempted to access a non local key in a cluster node script: abc, on @user_script:3.',
    'ERR Error running script: CLUSTERDOWN The cluster is down'
  ]) t.strictSame(judged(message), { kind: 'again', mayHaveMoved: true, isHalfMoved: false }, message)
  t.strictSame(judge(new ConnectionLost('The connection broke'), 'x'), { kind: 'again', mayHaveMoved: true, isHalfMoved: false })
})

t.test('a command whose keys are on both sides of a moving slot may be sent in parts', async t => {
  t.strictSame(judged('TRYAGAIN Multiple keys request during rehashing of slot'), { kind: 'again', mayHaveMoved: false, isHalfMoved: true })
})

t.test('a script that the node does not know is sent as text', async t => {
  t.strictSame(judged('NOSCRIPT No matching script. Please use EVAL.'), { kind: 'no-script' })
})

t.test('what will not go away is given up at once, with a code of its own', async t => {
  for (const [message, code] of [
    ['OOM command not allowed when used memory > \'maxmemory\'.', 'STORE_FULL'],
    ['MISCONF Redis is configured to save RDB snapshots, but it\'s currently unable to persist to disk.', 'STORE_READ_ONLY'],
    ['NOAUTH Authentication required.', 'STORE_DENIED'],
    ['NOPERM this user has no permissions to run the \'xadd\' command', 'STORE_DENIED'],
    ['WRONGPASS invalid username-password pair or user is disabled.', 'STORE_DENIED']
  ] as const) {
    const error = new ErrorReply(message)
    t.match(judge(error, 'x'), { kind: 'give-up', error: { code, statusCode: 503, cause: error } }, message)
  }
})

t.test('every other error is handed on as it is: repeating it would not help', async t => {
  for (const error of [new ErrorReply('WRONGTYPE Operation against a key holding the wrong kind of value'), new ErrorReply('ERR syntax error'), new ErrorReply(''), new TypeError('mine'), 'text', undefined]) {
    const verdict = judge(error, 'x')
    t.equal(verdict.kind, 'give-up')
    t.equal(verdict.kind === 'give-up' && verdict.error, error)
  }
})
