// Makes another process collect its garbage before its memory is measured: garbage that V8 has not
// collected yet does not count.
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * The option of Node that makes a process collect its garbage on SIGUSR2. It changes nothing else.
 */
export const COLLECTING = `--import=${new URL('./collect-garbage.js', import.meta.url).href}`

const COLLECTED_MS = 250

/**
 * For a process that was started with COLLECTING. Resolves after the time that a collection takes.
 */
export async function collectGarbage(pid: number): Promise<void> {
  process.kill(pid, 'SIGUSR2')
  await sleep(COLLECTED_MS)
}
