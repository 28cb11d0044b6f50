// Bundles the page; `npm run build` calls it. The page's script also serves as the SharedWorker
// (chat.ts checks where it runs), so a browser fetches one file for both. File names contain a hash
// of the content, so the files may be cached for ever; chat.html refers to them and is requested
// each time. A tab of an older version keeps the worker of that version.
import { build } from 'esbuild'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const source = fileURLToPath(new URL('.', import.meta.url))
const target = fileURLToPath(new URL('../dist/web/', import.meta.url))

mkdirSync(target, { recursive: true })
for (const name of readdirSync(target)) {
  if (/^chat[.-]/.test(name)) rmSync(join(target, name))
}
const { metafile } = await build({
  entryPoints: { chat: join(source, 'chat.ts'), styles: join(source, 'chat.css') },
  outdir: target,
  entryNames: 'chat-[hash]',
  bundle: true,
  minify: true,
  sourcemap: 'linked',
  format: 'esm',
  target: ['es2023', 'chrome120', 'firefox121', 'safari17.4'],
  metafile: true,
  logLevel: 'warning'
})
await build({
  entryPoints: [join(source, 'docs.ts'), join(source, 'cluster.ts')],
  outdir: target,
  bundle: true,
  format: 'esm',
  logLevel: 'warning'
})
const nameOf = ending =>
  basename(Object.keys(metafile.outputs).find(name => name.endsWith(ending)) ?? '')
const html = readFileSync(join(source, 'chat.template.html'), 'utf8')
writeFileSync(
  join(target, 'chat.html'),
  html
    .replace('chat/chat.css', `chat/${nameOf('.css')}`)
    .replace('chat/chat.js', `chat/${nameOf('.js')}`)
)
// Compressed once, here, instead of once for each browser.
for (const name of ['chat.html', nameOf('.css'), nameOf('.js')]) {
  const bytes = readFileSync(join(target, name))
  writeFileSync(join(target, `${name}.br`), brotliCompressSync(bytes))
  writeFileSync(join(target, `${name}.gz`), gzipSync(bytes, { level: 9 }))
}
for (const name of ['icon.svg', 'icon-unread.svg']) {
  copyFileSync(join(source, name), join(target, name))
}
