// Compiles the sources and bundles the service and the page if any source has changed, appeared or
// disappeared since the last successful build. dist keeps a fingerprint of their names, times and
// sizes. Comparing it takes milliseconds; starting tsc takes seconds.

import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { step } from './step.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const dist = join(root, 'dist')
const stamp = join(dist, 'built-from')
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

export async function ensureBuilt() {
  const files = ['src', 'tests', 'bench', 'web'].flatMap(filesUnder)
  const sources = files.filter(file => file.endsWith('.ts'))
  const others = files.filter(file => /\.(?:css|html|json|mjs)$/.test(file))
  const fingerprint = fingerprintOf([...sources, ...others, 'tsconfig.json'])
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === fingerprint) return
  removeLeftovers(new Set(sources))
  await step('Building the service', process.execPath, [tsc])
  await step('Bundling the service', process.execPath, [join(root, 'src', 'bundle.mjs')])
  await step('Checking the page', process.execPath, [tsc, '-p', 'web'])
  await step('Bundling the page', process.execPath, [join(root, 'web', 'bundle.mjs')])
  mkdirSync(dist, { recursive: true })
  writeFileSync(stamp, fingerprint)
}

function fingerprintOf(files) {
  const hash = createHash('sha256')
  for (const file of files.sort()) {
    const { mtimeMs, size } = statSync(join(root, file))
    hash.update(`${file} ${mtimeMs} ${size}\n`)
  }
  return hash.digest('hex')
}

// tsc leaves the output of a removed source in place, so a removed test would still run.
function removeLeftovers(sources) {
  for (const file of filesUnder('dist')) {
    const source = file.replace(/^dist./, '').replace(/\.js(\.map)?$/, '.ts')
    if (source.endsWith('.ts') && !sources.has(source)) rmSync(join(root, file))
  }
}

// Paths relative to the root.
function filesUnder(folder) {
  if (!existsSync(join(root, folder))) return []
  return (
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      // Node 24 no longer has `path`; `parentPath` exists from Node 20.12 on.
      .map(entry => join(entry.parentPath ?? entry.path, entry.name).slice(root.length))
  )
}
