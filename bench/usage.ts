// The processor time and memory of a process, from Linux's /proc (proc(5)). Undefined on other
// systems, and the tables say so. Memory is compared after a garbage collection: garbage that V8
// has not collected yet is not a cost of a reader, and would be most of the difference.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { collectGarbage } from '../tests/drills/collecting.js'

const ticksPerSecond = ((): number | undefined => {
  try {
    return Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  } catch {
    return undefined
  }
})()

/**
 * Seconds of processor time of all threads, user and system. Counted in ticks, 10 ms on most
 * systems.
 */
export function cpuSeconds(pid: number | undefined): number | undefined {
  const stat = readProc(pid, 'stat')
  if (stat === undefined || ticksPerSecond === undefined) return undefined
  // The command's name is in parentheses and may contain blanks, so fields are counted after the
  // last parenthesis. utime is field 14, stime 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

/** The memory of a process in bytes; shared pages count by their share (PSS). */
export function memoryBytes(pid: number | undefined): number | undefined {
  const pss = /^Pss:\s+(\d+) kB/m.exec(readProc(pid, 'smaps_rollup') ?? '')?.[1]
  return pss === undefined ? undefined : Number(pss) * 1024
}

const SETTLE_LOOKS_MAX = 40
/** Two readings that differ by less count as equal. */
const SETTLED = 0.002

/**
 * `memoryBytes` after collecting garbage until a collection frees no more. For a process that was
 * started with COLLECTING.
 */
export async function settledMemoryBytes(pid: number | undefined): Promise<number | undefined> {
  let bytes = memoryBytes(pid)
  if (pid === undefined || bytes === undefined) return undefined
  for (let look = 0; look < SETTLE_LOOKS_MAX; look++) {
    await collectGarbage(pid)
    const before: number = bytes
    bytes = memoryBytes(pid) ?? before
    if (Math.abs(bytes - before) < before * SETTLED) break
  }
  return bytes
}

function readProc(pid: number | undefined, file: string): string | undefined {
  if (pid === undefined) return undefined
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return undefined // another system, or the process has ended
  }
}

/** The difference between two readings; undefined if one of them failed. */
export const between = (
  before: number | undefined,
  after: number | undefined
): number | undefined => (before === undefined || after === undefined ? undefined : after - before)
