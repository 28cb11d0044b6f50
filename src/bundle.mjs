// Bundles the service, its commands and their packages into a few files in dist/service/; `npm run
// build` calls it. Loading hundreds of modules one by one takes half of the processor time of a
// start: 0.75 s instead of 0.35 (bench/RESULTS.md). The bundle is not minified, so stack traces can
// be read without source maps. The modules in dist/src/ work as well.
import { build } from 'esbuild'
import { rmSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = 'dist/service'
const commands = ['accept-loss', 'check', 'cluster', 'erase', 'msggen', 'token'].map(
  name => `src/cli/${name}.ts`
)

rmSync(new URL(`../${target}`, import.meta.url), { recursive: true, force: true })
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['src/main.ts', 'src/workers/worker.ts', ...commands],
  outbase: 'src',
  outdir: target,
  bundle: true,
  splitting: true,
  sourcemap: 'linked',
  sourcesContent: false,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  // Packages that are CommonJS require Node's own modules.
  banner: {
    js: "import { createRequire as requireOf } from 'node:module'\nconst require = requireOf(import.meta.url)"
  },
  metafile: true,
  logLevel: 'warning'
})
for (const [file, { inputs }] of Object.entries(metafile.outputs)) {
  if ('src/places.ts' in inputs && relative(target, dirname(file)) !== '') {
    throw new Error(`${file} contains src/places.ts, which must be directly in ${target}`)
  }
}
