// The documents match the code: links and anchors resolve, and the files, tests and commands that
// documents and comments name exist; the first figures are those that were measured. Does not check
// whether what a sentence says is true.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

// This file is dist/tests/unit/documents.js when it runs.
const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const FOREIGN = new Set(['node_modules', 'dist', '.git', '.data', '.tap', '.cache'])

function filesIn(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap(entry => {
    if (FOREIGN.has(entry.name)) return []
    const path = join(dir, entry.name)
    return entry.isDirectory() ? filesIn(path) : [relative(ROOT, path)]
  })
}

const files = filesIn(ROOT)
const documents = files.filter(path => path.endsWith('.md'))
const textOf = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const withoutCode = (text: string): string =>
  text.replace(/^```[^]*?^```$/gm, '').replace(/^ {4}.*$/gm, '')

/** Anchors as GitHub derives them: https://docs.github.com/en/get-started/writing-on-github */
function anchorsOf(text: string): Set<string> {
  const headings = [...withoutCode(text).matchAll(/^#{1,6} +(.+)$/gm)].map(
    ([, title = '']) => title
  )
  return new Set(
    headings.map(title =>
      title
        .toLowerCase()
        .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-')
    )
  )
}

t.test('every link in a document leads to an existing file and heading', t => {
  let links = 0
  for (const path of documents) {
    for (const [, target = ''] of withoutCode(textOf(path)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      links++
      const [file = '', anchor] = target.split('#')
      const to = file === '' ? join(ROOT, path) : resolve(ROOT, dirname(path), file)
      if (!existsSync(to)) t.fail(`${path}: ${target} does not exist`)
      else if (anchor !== undefined && !anchorsOf(readFileSync(to, 'utf8')).has(anchor)) {
        t.fail(`${path}: ${target} has no such heading`)
      }
    }
  }
  t.ok(links > 50, `${links} links`)
  t.end()
})

t.test('every test that a document names exists', t => {
  let named = 0
  for (const path of documents.filter(path => path !== 'CHANGELOG.md')) {
    const text = textOf(path)
    for (const [, name = ''] of text.matchAll(
      /(?<![\w/.-])(?:tests\/)?((?:unit|cluster|faults|page|containers)\/[a-z][a-z-]*)(?![\w/.*-])/g
    )) {
      named++
      const isThere = ['tests', 'src', 'src/cli', 'web'].some(
        folder =>
          existsSync(join(ROOT, folder, `${name}.ts`)) || existsSync(join(ROOT, folder, name))
      )
      if (!isThere) t.fail(`${path} names ${name}`)
    }
  }
  t.ok(named > 50, `${named} names`)
  t.end()
})

t.test('every `npm run` command in a document is a script', t => {
  const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> }
  let shown = 0
  for (const path of documents.filter(path => path !== 'CHANGELOG.md')) {
    for (const [, script = ''] of textOf(path).matchAll(/npm run (?:--silent )?([\w:-]+)/g)) {
      shown++
      if (scripts[script] === undefined) t.fail(`${path}: npm run ${script}`)
    }
  }
  t.ok(shown > 20, `${shown} commands`)
  t.end()
})

t.test('every project file that a comment names exists', t => {
  const code = files.filter(path => /^(?:src|tests|bench|web|compose)\/.*\.(?:ts|mjs)$/.test(path))
  let named = 0
  for (const path of code) {
    for (const [comment] of textOf(path).matchAll(/^\s*(?:\/\/|\/?\*).*$/gm)) {
      for (const [name] of comment.matchAll(
        /(?<![\w/.:@-])(?:[\w-]+\/)*[\w-]+\.(?:ts|md|mjs)(?![\w(])/g
      )) {
        named++
        const isThere = files.some(file => file === name || file.endsWith(`/${name}`))
        if (!isThere) t.fail(`${path} names ${name}`)
      }
    }
  }
  t.ok(named > 50, `${named} names`)
  t.end()
})

t.test('README.md has at most 150 lines', t => {
  t.ok(textOf('README.md').trimEnd().split('\n').length <= 150)
  t.end()
})

t.test('the first figures are those of the last measurement', t => {
  const results = textOf('bench/RESULTS.md')
  const measured = (bench: string, row: string): number => {
    const [, part = ''] = results.split(`<!-- bench:${bench} -->`)
    const [, value = ''] = part.split(`\n| ${row} | `)
    return Number(/^[\d,.]+/.exec(value)?.[0].replaceAll(',', ''))
  }
  const figures: ReadonlyArray<readonly [bench: string, row: string, stated: RegExp]> = [
    ['fanout', 'Dialogs: deliveries', /([\d,]+)(?: deliveries)?\/s(?:\*\* to|:)/],
    ['fanout', 'Dialogs over Nchan with Redis', /([\d.]+) × Nchan with Redis,/],
    ['fanout', 'Dialogs over Socket.IO with Redis streams', /([\d.]+) × Socket\.IO/],
    ['latency', 'Dialogs, p50', /([\d.]+) ms(?:\*\* \(p50\)| \(\d\.\d+ × Nchan\), p99)/],
    ['latency', 'Dialogs, p99', /([\d.]+) ms \((?:p99\) from|0\.\d+ × Nchan\) \|)/]
  ]
  for (const path of ['README.md', 'bench/README.md']) {
    for (const [bench, row, stated] of figures) {
      const said = Number(stated.exec(textOf(path))?.[1]?.replaceAll(',', ''))
      const result = measured(bench, row)
      t.ok(Math.abs(said / result - 1) < 0.02, `${path}: ${row}, said ${said}, measured ${result}`)
    }
  }
  t.end()
})
