// What `npm pack` puts into the package of the client: package.json without what only the service,
// its tests and its set-up need, so that installing the client installs two small packages instead
// of ninety. npm packs the file as it is on disk: `narrow` replaces it before (prepack), `restore`
// puts it back (postpack). If packing was broken off in between, the next call of either puts it
// back first.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const manifest = join(root, 'package.json')
const whole = join(root, 'dist', 'package.json.whole')

const FIELDS = ['name', 'version', 'description', 'license', 'type', 'exports', 'files']
/** What src/client/README.md says; the service itself needs a newer one. */
const NODE = '>=20.3'
/** What the code imports, and what its types do. */
const DEPENDENCIES = ['eventsource-parser', '@sinclair/typebox']

if (existsSync(whole)) renameSync(whole, manifest)
if (process.argv[2] === 'narrow') {
  const text = readFileSync(manifest, 'utf8')
  const { dependencies, ...all } = JSON.parse(text)
  const pick = (from, names) => Object.fromEntries(names.map(name => [name, from[name]]))
  const narrowed = {
    ...pick(all, FIELDS),
    engines: { node: NODE },
    dependencies: pick(dependencies, DEPENDENCIES)
  }
  writeFileSync(whole, text)
  writeFileSync(manifest, `${JSON.stringify(narrowed, undefined, 2)}\n`)
}
