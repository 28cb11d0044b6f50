// `node compose/run.mjs cli/msggen …`: sets up what is missing, then runs dist/src/cli/msggen.js as if it had been called itself.
// Benchmarks are at `bench/bench`.

import { fileURLToPath } from 'node:url'
import { giveUp, setUp } from './setup.mjs'

const [node, , target, ...args] = process.argv
if (target === undefined) giveUp(new Error('Say what to run: node compose/run.mjs cli/msggen …'))
const startsRedis = /^bench\/|^cli\/(drill|cluster)$/.test(target)
await setUp({ tools: startsRedis ? ['redis'] : [] }).catch(giveUp)

const script = new URL(`../dist/${target.startsWith('bench/') ? '' : 'src/'}${target}.js`, import.meta.url)
process.argv = [node, fileURLToPath(script), ...args]
await import(script.href)
