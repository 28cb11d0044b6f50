// Finds the redis-server binary on the PATH and checks that it is new enough: the log needs `XADD 0-*`, which is Redis 7.
// Installing it is not done here; that is the set-up script's job, before any of this is built.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)
const versionMin = 7

/** The command that starts Redis. Throws one clear line when there is none, or one that is too old. */
export async function findRedisServer (): Promise<string> {
  const command = 'redis-server'
  let output: string
  try {
    output = (await run(command, ['--version'])).stdout
  } catch (cause) {
    throw new Error('redis-server was not found on the PATH: run `npm run setup`, or set REDIS_NODES to a cluster of your own', { cause })
  }
  const major = Number(/\bv=(\d+)\./.exec(output)?.[1])
  if (!(major >= versionMin)) {
    throw new Error(`redis-server ${versionMin} or newer is needed, but the one on the PATH says: ${output.trim()}`)
  }
  return command
}
