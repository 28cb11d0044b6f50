// The redis.conf of one embedded node. Every line that differs from Redis's default has its reason
// here.

import { join } from 'node:path'
import { leastAcl } from '../redis/requirements.js'
import { REQUIREMENTS } from '../store/requirements.js'

/** Has no password: the nodes listen on loopback, where the default user has none either. */
const SERVICE_USER = 'service'

/** The URL of an embedded node for the service. */
export const asServiceUser = (url: string): string =>
  url.replace('redis://', `redis://${SERVICE_USER}:any@`)

/** Where a node runs. */
export type NodePlace = {
  readonly host: string
  /** Words before the command, such as `ip netns exec <name>`. */
  readonly within: readonly string[]
}

export const LOOPBACK: NodePlace = { host: '127.0.0.1', within: [] }

export type NodeSettings = {
  readonly dir: string
  readonly port: number
  readonly nodeTimeoutMs: number
  readonly place: NodePlace
}

export function redisConf({ dir, port, nodeTimeoutMs, place: { host } }: NodeSettings): string {
  return [
    `bind ${host}`,
    // without a password Redis would answer loopback only
    ...(host === LOOPBACK.host ? [] : ['protected-mode no']),
    `port ${port}`,
    `dir ${quote(dir)}`,
    `logfile ${quote(logFileOf(dir))}`,
    `pidfile ${quote(pidFileOf(dir))}`,
    'daemonize no',
    // keeps this file's name in the command line, by which an orphan is recognised
    'set-proc-title no',
    'always-show-logo no',

    'cluster-enabled yes',
    `cluster-node-timeout ${nodeTimeoutMs}`,
    `cluster-announce-ip ${host}`,
    'cluster-require-full-coverage no', // one lost shard does not silence the others

    'appendonly yes',
    'appendfsync everysec', // survives the process; the replica covers the loss of the machine
    'save ""',
    // how long a stopping master waits for its replicas; all of them stop together here
    'shutdown-timeout 2',

    // a young stream reserves a whole node: 4,728 bytes by default, 1,656 with this
    'stream-node-max-bytes 1024',
    'repl-diskless-sync-delay 0', // waiting for more replicas would only delay the one there is
    'repl-backlog-size 64mb', // a replica that was away briefly gets the difference, not everything

    // The service logs in as this user, so that it never uses more than the documented permissions.
    `user ${SERVICE_USER} on nopass ${leastAcl(REQUIREMENTS)}`,

    'enable-debug-command local', // used by the tests of faults
    ''
  ].join('\n')
}

export function confFileOf(dir: string): string {
  return join(dir, 'redis.conf')
}

export function logFileOf(dir: string): string {
  return join(dir, 'redis.log')
}

export function pidFileOf(dir: string): string {
  return join(dir, 'redis.pid')
}

// Redis reads double quotes with backslash escapes, as JSON writes them.
function quote(text: string): string {
  return JSON.stringify(text)
}
