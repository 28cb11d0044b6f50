// Lets another process collect its garbage: what V8 has not got round to is nothing that the process holds.
import { setTimeout as sleep } from 'node:timers/promises'

/** Node's option that makes a process collect its garbage on SIGUSR2. Nothing else is different with it. */
export const COLLECTING = `--import=${new URL('./collect-garbage.js', import.meta.url).href}`

const COLLECTED_MS = 250

/** For a process with COLLECTING. Resolves when that should be done. */
export async function collectGarbage (pid: number): Promise<void> {
  process.kill(pid, 'SIGUSR2')
  await sleep(COLLECTED_MS)
}
