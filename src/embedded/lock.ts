// One owner for a data directory: a file with the owner's pid and start. Whoever finds the owner
// gone takes over, which is what makes a start after SIGKILL work; whoever finds it alive waits a
// little (a restart overlaps) and then gives up. The file appears with its content at once (hard
// link), so no one ever reads half of it.

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isErrno, startOf } from './processes.js'

const pollMs = 50
let drafts = 0

export class DataDirLock {
  readonly #file: string
  readonly #content: string

  private constructor(file: string, content: string) {
    this.#file = file
    this.#content = content
  }

  /**
   * Takes the lock, waiting up to `waitMs` for a living owner to let go; then throws one line that
   * names it.
   */
  static async acquire(dataDir: string, waitMs: number): Promise<DataDirLock> {
    const file = join(dataDir, 'owner')
    const content = `${process.pid} ${startOf(process.pid)}`
    const draft = `${file}.${process.pid}.${++drafts}`
    const deadline = Date.now() + waitMs
    writeFileSync(draft, content)
    try {
      while (!link(draft, file)) {
        const owner = read(file)
        if (owner === undefined) continue
        if (!isAlive(owner)) {
          discard(file, owner)
        } else if (Date.now() >= deadline) {
          throw new Error(
            `${dataDir} is in use by process ${pidOf(owner)}: stop that service first, or set DATA_DIR to another folder`
          )
        } else {
          await sleep(pollMs)
        }
      }
      return new DataDirLock(file, content)
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
  return owner === `${pidOf(owner)} ${startOf(pidOf(owner))}`
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

// Two who find the same dead owner must not both remove: the second would remove the first's new
// lock. So it is renamed aside, looked at again, and put back when it was another one.
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
