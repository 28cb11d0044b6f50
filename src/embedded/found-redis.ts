// Finds a Redis or Valkey server on the PATH and checks its version: the log needs `XADD 0-*`,
// which exists since Redis 7. Installing one is the job of the set-up script, before any of this is
// built.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)
const VERSION_MIN = 7
/** Valkey continued the version numbers of Redis 7.2 under its own name. */
const COMMANDS = ['redis-server', 'valkey-server'] as const

/**
 * The command that starts Redis. Throws one clear line if there is none, or none that is new
 * enough.
 */
export async function findRedisServer(): Promise<string> {
  const old: string[] = []
  for (const command of COMMANDS) {
    const version = await versionOf(command)
    if (version === undefined) continue
    if (Number(/\bv=(\d+)\./.exec(version)?.[1]) >= VERSION_MIN) return command
    old.push(`${command} on the PATH says: ${version}`)
  }
  if (old.length > 0) {
    throw new Error(`Redis ${VERSION_MIN} or newer is needed, but ${old.join('; ')}`)
  }
  throw new Error(
    'Neither redis-server nor valkey-server was found on the PATH: run `npm run setup`, or set REDIS_NODES to a cluster of your own'
  )
}

async function versionOf(command: string): Promise<string | undefined> {
  try {
    return (await run(command, ['--version'])).stdout.trim()
  } catch {
    return undefined
  }
}
