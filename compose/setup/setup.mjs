// Sets up what is missing on this machine, and nothing else: node packages, Redis, the build; for
// the tests also Chromium and nginx. It runs before any packages exist, so it is plain JavaScript
// without dependencies. `npm run setup [-- --tests]` calls it, and so does every other command when
// it starts. If nothing is missing, it takes a tenth of a second.

import { ensureBuilt } from './build.mjs'
import { ensureNodePackages } from './packages.mjs'
import { ensureTools } from './tools.mjs'

/** @throws Error with one line that says what is wrong */
export async function setUp({ tools = ['redis'] } = {}) {
  ensureNodeVersion()
  await ensureTools(tools)
  await ensureNodePackages()
  await ensureBuilt()
}

/** Everything that the tests need. */
export const testTools = ['redis', 'chromium', 'nginx']

/** Prints why the set-up failed and exits with status 1. */
export function giveUp(error) {
  console.error(error.message)
  process.exit(1)
}

function ensureNodeVersion() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 11)) {
    throw new Error(
      `Node 22 or 24 is needed (20.11 and newer still work), this is ${process.versions.node}`
    )
  }
}

if (import.meta.filename === process.argv[1]) {
  await setUp(process.argv.includes('--tests') ? { tools: testTools } : {}).catch(giveUp)
  console.log('All is set up')
}
