// One owner per data directory, by a file with the owner's pid and start time, and the machine's
// boot in a second line. If the owner is gone, the next one takes over, so a start after SIGKILL
// works. The boot tells it whether the whole machine stopped in between. If the owner is alive, the
// next one waits a little (restarts overlap) and then gives up. A hard link makes the file appear
// together with its content, so nobody reads half of it.

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { bootOf, isErrno, startOf } from './processes.js'

const POLL_MS = 50
let drafts = 0

export class DataDirLock {
  /** The last owner did not release the lock, and the machine was started again since. */
  readonly isAfterMachineStop: boolean
  readonly #file: string
  readonly #content: string

  private constructor(file: string, content: string, isAfterMachineStop: boolean) {
    this.#file = file
    this.#content = content
    this.isAfterMachineStop = isAfterMachineStop
  }

  /**
   * Takes the lock. Waits up to `waitMs` for a living owner to release it, then throws one line
   * that names the owner.
   */
  static async acquire(dataDir: string, waitMs: number): Promise<DataDirLock> {
    const file = join(dataDir, 'owner')
    const boot = bootOf()
    const content = `${process.pid} ${startOf(process.pid)}\n${boot}`
    let isAfterMachineStop = false
    const draft = `${file}.${process.pid}.${++drafts}`
    const deadline = Date.now() + waitMs
    writeFileSync(draft, content)
    try {
      while (!link(draft, file)) {
        const owner = read(file)
        if (owner === undefined) continue
        if (!isAlive(owner)) {
          isAfterMachineStop = !isOfBoot(owner, boot)
          discard(file, owner)
        } else if (Date.now() >= deadline) {
          throw new Error(
            `${dataDir} is in use by process ${pidOf(owner)}: stop that service first, or set DATA_DIR to another folder`
          )
        } else {
          await sleep(POLL_MS)
        }
      }
      return new DataDirLock(file, content, isAfterMachineStop)
    } finally {
      rmSync(draft, { force: true })
    }
  }

  release(): void {
    if (read(this.#file) === this.#content) rmSync(this.#file, { force: true })
  }
}

function pidOf(owner: string): number {
  return Number.parseInt(owner, 10)
}

function isAlive(owner: string): boolean {
  const [process] = owner.split('\n')
  return process === `${pidOf(owner)} ${startOf(pidOf(owner))}` && isOfBoot(owner, bootOf())
}

// A lock of an older version does not name its boot. Nor does one on a machine without /proc.
function isOfBoot(owner: string, boot: string): boolean {
  const [, ownerBoot = ''] = owner.split('\n')
  return ownerBoot === '' || boot === '' || ownerBoot === boot
}

function link(draft: string, file: string): boolean {
  try {
    linkSync(draft, file)
    return true
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false
    throw error
  }
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

// If two processes find the same dead owner, they must not both remove its lock: the second would
// remove the first one's new lock. So the file is renamed away, read again, and put back if it was
// another one.
function discard(file: string, deadOwner: string): void {
  const aside = `${file}.dead.${process.pid}`
  try {
    renameSync(file, aside)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return
    throw error
  }
  if (read(aside) !== deadOwner) link(aside, file)
  rmSync(aside, { force: true })
}
