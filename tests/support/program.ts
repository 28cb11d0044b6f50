// Where the service and its commands are: bundled, which starts in half the processor time, or else
// compiled, because tsc alone does not renew the bundle.
import { existsSync, readdirSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

// This file is dist/tests/support/program.js when it runs.
const COMPILED = fileURLToPath(new URL('../../src/', import.meta.url))
const BUNDLED = fileURLToPath(new URL('../../service/', import.meta.url))
const FOLDER = isNewest(`${BUNDLED}main.js`) ? BUNDLED : COMPILED

/** @param name as in `main` or `cli/check` @returns the path of the file that Node runs */
export const program = (name: string): string => `${FOLDER}${name}.js`

/** Whether the bundle exists and no module was compiled after it. */
function isNewest(bundle: string): boolean {
  if (!existsSync(bundle)) return false
  const { mtimeMs } = statSync(bundle)
  return readdirSync(COMPILED, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.js'))
    .every(name => statSync(`${COMPILED}${name}`).mtimeMs <= mtimeMs)
}
