// `node compose/setup/run.mjs service/cli/msggen …` sets up what is missing and then runs
// dist/service/cli/msggen.js with the arguments that follow.

import { fileURLToPath } from 'node:url'
import { giveUp, setUp } from './setup.mjs'

const [node, , target, ...args] = process.argv
if (target === undefined) {
  giveUp(new Error('Say what to run: node compose/setup/run.mjs service/cli/msggen …'))
}
const startsRedis = /^(bench|tests)\/|^service\/cli\/cluster$/.test(target)
await setUp({ tools: startsRedis ? ['redis'] : [] }).catch(giveUp)

const script = new URL(`../../dist/${target}.js`, import.meta.url)
process.argv = [node, fileURLToPath(script), ...args]
await import(script.href)
