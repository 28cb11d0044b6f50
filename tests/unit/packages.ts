// package.json declares exactly the packages that the code uses. A package that is missing there,
// or listed for development only, breaks the service only where `npm ci --omit=dev` installed it.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'
import { VERSION } from '../../src/version.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))

const manifest: {
  version: string
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
} = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** Packages that are used as a command, in the configuration of a command, or by the compiler. */
const isTool = (name: string): boolean =>
  name.startsWith('@types/') || ['eslint', 'neostandard', 'prettier'].includes(name)

/**
 * Every import of a package below these folders, and every lookup of its folder
 * (`resolve('package/package.json')`), as `package` or `package/sub/path`. Type imports do not
 * count: they are gone at run time.
 */
function importsIn(...folders: string[]): string[] {
  const found = new Set<string>()
  for (const folder of folders) {
    for (const name of readdirSync(join(root, folder), {
      recursive: true,
      encoding: 'utf8'
    }).filter(name => /\.m?js$/.test(name))) {
      const source = readFileSync(join(root, folder, name), 'utf8')
      const { importedFiles } = ts.preProcessFile(source, true, true)
      for (const { fileName } of importedFiles) {
        // The examples import this package by its own name.
        if (!/^(node:|\.|dialogs\/)/.test(fileName)) found.add(fileName)
      }
      for (const [, fileName = ''] of source.matchAll(
        /\.resolve\('([@\w-]+(?:\/[\w-]+)?\/package\.json)'\)/g
      )) {
        found.add(fileName)
      }
    }
  }
  return [...found].sort()
}

const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
const packagesIn = (...folders: string[]): string[] => [
  ...new Set(importsIn(...folders).map(packageOf))
]

t.test('dependencies lists exactly what the service imports', async t => {
  t.strictSame(packagesIn('dist/src'), Object.keys(manifest.dependencies).sort())
})

t.test('devDependencies lists exactly what only tests, benchmarks and set-up import', async t => {
  const used = packagesIn('dist/tests', 'dist/bench', 'compose', 'web').filter(
    name => !(name in manifest.dependencies)
  )
  const declared = Object.keys(manifest.devDependencies).filter(name => !isTool(name))
  t.strictSame(used, declared.sort())
})

t.test('no package is imported by an internal path, which any release may change', async t => {
  const deep = importsIn('dist/src', 'dist/tests', 'dist/bench', 'compose', 'web').filter(
    specifier =>
      specifier !== packageOf(specifier) && specifier !== `${packageOf(specifier)}/package.json`
  )
  t.strictSame(deep, [])
})

t.test('the service states the version of package.json', async t => {
  t.equal(VERSION, manifest.version)
})

t.test('installing the client installs nothing of the service', async t => {
  const folder = t.testdir({ dist: {} })
  const script = 'compose/setup/client-manifest.mjs'
  mkdirSync(join(folder, 'compose/setup'), { recursive: true })
  cpSync(join(root, script), join(folder, script))
  cpSync(join(root, 'package.json'), join(folder, 'package.json'))
  const run = (what: 'narrow' | 'restore'): string => {
    execFileSync(process.execPath, [join(folder, script), what])
    return readFileSync(join(folder, 'package.json'), 'utf8')
  }
  const narrowed: typeof manifest = JSON.parse(run('narrow'))
  t.strictSame(Object.keys(narrowed.dependencies).sort(), [
    '@sinclair/typebox',
    'eventsource-parser'
  ])
  const client = readdirSync(join(root, 'dist/src/client')).filter(name => name.endsWith('.js'))
  const imported = client.flatMap(name =>
    ts
      .preProcessFile(readFileSync(join(root, 'dist/src/client', name), 'utf8'), true, true)
      .importedFiles.map(({ fileName }) => fileName)
      .filter(name => !/^(node:|\.)/.test(name))
  )
  t.strictSame([...new Set(imported)], ['eventsource-parser'], 'types need the other one')
  t.equal(narrowed.version, manifest.version)
  const whole = readFileSync(join(root, 'package.json'), 'utf8')
  t.strictSame(JSON.parse(run('narrow')), narrowed, 'after packing was broken off')
  t.equal(run('restore'), whole)
  t.equal(run('restore'), whole, 'with nothing to put back')
})
