// Sets up what is missing on this machine, and nothing else: node packages, Redis (for the tests Chromium and nginx too), the build.
// Plain JavaScript without dependencies, for it runs before there are any. `npm run setup [-- --tests]`, and by itself
// at the beginning of start, test and every other command; where all is there it takes a tenth of a second.

import { ensureBuilt } from './build.mjs'
import { ensureNodePackages } from './packages.mjs'
import { ensureTools } from './tools.mjs'

/** Rejects with one line that says what is wrong. */
export async function setUp ({ tools = ['redis'] } = {}) {
  ensureNodeVersion()
  await ensureTools(tools)
  await ensureNodePackages()
  await ensureBuilt()
}

/** Everything that the tests need. */
export const testTools = ['redis', 'chromium', 'nginx']

/** For a set-up that failed: the line, and exit status 1. */
export function giveUp (error) {
  console.error(error.message)
  process.exit(1)
}

function ensureNodeVersion () {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 11)) throw new Error(`Node 22 or 24 is needed (20.11 and newer still work), this is ${process.versions.node}`)
}

if (import.meta.filename === process.argv[1]) {
  await setUp(process.argv.includes('--tests') ? { tools: testTools } : {}).catch(giveUp)
  console.log('All is set up')
}
