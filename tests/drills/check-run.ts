// Runs `npm run check` on the cluster of a drill, in a process of its own: the keys in Redis must
// be consistent as well.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { type World } from './world.js'
import { program } from '../support/program.js'

const CHECK = program('cli/check')
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024

/** The findings of the check; empty if there are none. */
export async function runCheck(
  world: World,
  env: Readonly<Record<string, string>>
): Promise<string[]> {
  try {
    const living = world.cluster.nodes.filter(node => node.isRunning).map(({ url }) => url)
    await promisify(execFile)(process.execPath, [CHECK], {
      env: { PATH: process.env['PATH'], ...env, REDIS_NODES: living.join(',') },
      maxBuffer: OUTPUT_BYTES_MAX
    })
    return []
  } catch (error) {
    // If the status is not 0, promisify(execFile) rejects with an error that contains the output.
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    return [
      `npm run check finds: ${(stdout.trim() === '' ? stderr : stdout).trim().replaceAll('\n', '; ') || String(error)}`
    ]
  }
}
