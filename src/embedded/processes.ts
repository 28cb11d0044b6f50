// What the operating system says about a process: whether it exists, since when, and its command
// line. A pid alone proves nothing, because pids are reused. Uses /proc where it exists (Linux),
// otherwise `ps`. A zombie counts as gone: it holds no port and no file, and in a container without
// an init it may never be reaped.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * A replica that is writing its first append-only file refuses SIGTERM and forgets it, so the
 * signal is repeated at this interval.
 */
export const SIGNAL_AGAIN_MS = 100

const HAS_PROC = existsSync('/proc/self/stat')

/**
 * When the process began, as an opaque string that differs for a later process with the same pid;
 * undefined if it is gone.
 */
export function startOf(pid: number): string | undefined {
  if (!HAS_PROC) return ps(pid, 'lstart=')
  // The command's name is in parentheses and may contain spaces, so fields are counted after the
  // last parenthesis. proc(5): state is field 3, starttime is field 22.
  const fields = readProc(pid, 'stat')
    ?.replace(/^.*\) /s, '')
    .split(' ')
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}

/** Differs each time that the machine is started; empty where that is not known. */
export function bootOf(): string {
  const file = '/proc/sys/kernel/random/boot_id'
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : ''
}

/** The command line, words joined by spaces; undefined if the process is gone. */
export function commandOf(pid: number): string | undefined {
  if (!HAS_PROC) return ps(pid, 'command=')
  return readProc(pid, 'cmdline')?.split('\0').join(' ').trim() || undefined
}

/** Asks the process to end, kills it after `patienceMs`, and waits until it is gone. */
export async function end(pid: number, patienceMs: number): Promise<void> {
  const start = startOf(pid)
  const isGone = () => start === undefined || startOf(pid) !== start
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const deadline = Date.now() + patienceMs
    while (Date.now() < deadline) {
      signalTo(pid, signal)
      signalTo(pid, 'SIGCONT') // one that is paused (SIGSTOP) could not act on SIGTERM
      const again = Date.now() + SIGNAL_AGAIN_MS
      while (Date.now() < again) {
        if (isGone()) return
        await sleep(10)
      }
    }
  }
  throw new Error(`process ${pid} does not end, not even on SIGKILL`)
}

/** Sends a signal. No error if the process is gone. */
export function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error
  }
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ESRCH')) return undefined
    throw error
  }
}

function ps(pid: number, column: string): string | undefined {
  try {
    const [state = '', ...words] = execFileSync(
      'ps',
      ['-o', 'state=', '-o', column, '-p', String(pid)],
      { encoding: 'utf8' }
    )
      .trim()
      .split(/\s+/)
    return state === '' || state.startsWith('Z') ? undefined : words.join(' ')
  } catch {
    return undefined // ps exits with 1 when there is no such process
  }
}
