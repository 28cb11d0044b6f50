// The set-up scripts, in small projects of their own, with stand-ins for npm, tsc, Redis and the
// package manager. Only the last test uses the real tools.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, utimesSync } from 'node:fs'
import t from 'tap'
import { makeProject, makeRealProject, redis7 } from '../support/project.js'
import { until } from '../support/until.js'

const redis6 = 'echo "Redis server v=6.0.16 sha=0"'

t.test('if nothing is missing, nothing is installed or built', async t => {
  const project = makeProject(t)
  await project.run('setup.mjs')
  t.same(project.calls(), ['tsc', 'tsc -p web'], 'the first time it is built')
  const again = await project.run('setup.mjs')
  t.same(again, { status: 0, output: 'All is set up\n' })
  t.same(project.calls(), [])
})

t.test(
  'it builds when a source is newer, new or gone, and removes the output of a removed source',
  async t => {
    const project = makeProject(t)
    await project.run('setup.mjs')
    project.calls()
    const changes = {
      newer: () =>
        utimesSync(project.path('src/main.ts'), new Date(), new Date(Date.now() + 10_000)),
      new: () => project.write('tests/b.ts', ''),
      gone: () => rmSync(project.path('tests/unit/a.ts'))
    }
    project.write('dist/tests/unit/a.js', '')
    for (const [name, change] of Object.entries(changes)) {
      t.ok(existsSync(project.path('dist/tests/unit/a.js')))
      change()
      await project.run('setup.mjs')
      t.same(project.calls(), ['tsc', 'tsc -p web'], name)
    }
    t.notOk(existsSync(project.path('dist/tests/unit/a.js')))
  }
)

t.test('a failed build shows why, and is tried again', async t => {
  const project = makeProject(t)
  project.write(
    'node_modules/typescript/bin/tsc',
    'console.log("src/main.ts(1,1): error"); process.exit(2)'
  )
  for (const attempt of [1, 2]) {
    const { status, output } = await project.run('setup.mjs')
    t.equal(status, 1)
    t.match(output, /error\nBuilding the service did not work: .*\n$/, `attempt ${attempt}`)
  }
})

t.test(
  'node packages are installed when one is missing or has another version, unless it is for other platforms',
  async t => {
    const project = makeProject(t)
    await project.run('setup.mjs')
    for (const [installed, calls] of [
      [{ 'node_modules/a': { version: '1.0.0' } }, []],
      [{ 'node_modules/a': { version: '0.9.0' } }, ['npm ci --include=dev']],
      [{}, ['npm ci --include=dev']]
    ] as const) {
      project.calls()
      project.write('node_modules/.package-lock.json', JSON.stringify({ packages: installed }))
      await project.run('setup.mjs')
      t.same(project.calls(), calls)
    }
  }
)

t.test("Redis is installed by the machine's package manager", async t => {
  for (const [manager, call] of [
    ['dnf', 'dnf install --assumeyes redis'],
    ['apk', 'apk add redis']
  ] as const) {
    const project = makeProject(t)
    rmSync(project.path('bin/redis-server'))
    project.command(
      manager,
      `printf '#!/bin/sh\\n${redis7}\\n' > ${project.path('bin/redis-server')}; /bin/chmod 755 ${project.path('bin/redis-server')}`
    )
    project.command('sudo', 'shift; "$@"')
    const { status } = await project.run('setup.mjs')
    t.equal(status, 0)
    t.ok(project.calls().includes(call), call)
  }
})

// Root runs the set-up as another user, who may not be allowed to read this Node's folder.
const NOBODY = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
const isNodeForAll =
  spawnSync(process.execPath, ['--version'], { ...NOBODY, cwd: '/' }).status === 0
const skip = isNodeForAll ? false : 'other users may not run this Node'
t.test('without the right to install, one line says what to run', { skip }, async t => {
  const project = makeProject(t)
  rmSync(project.path('bin/redis-cli'))
  project.command('apt-get', '')
  project.command('sudo', 'exit 1')
  const { status, output } = await project.run('setup.mjs', { asNobody: true })
  t.equal(status, 1)
  t.equal(
    output,
    'Missing: redis-server 7 or newer and redis-cli. You may not install here, so run: sudo apt-get install --yes redis-server redis-tools\n'
  )
})

t.test('a Redis that is too old, with no newer package, is reported', async t => {
  const project = makeProject(t)
  project.command('redis-server', redis6)
  project.command('apk', '')
  project.command('sudo', 'shift; "$@"')
  const { status, output } = await project.run('setup.mjs')
  t.equal(status, 1)
  t.match(
    output,
    /This system's packages do not give redis-server 7 or newer and redis-cli: install it by hand\n$/
  )
})

t.test('with REDIS_NODES the service starts without a Redis on this machine', async t => {
  const project = makeProject(t)
  rmSync(project.path('bin/redis-server'))
  project.write('service.js', 'console.log("started")')
  t.equal((await project.run('start.mjs')).status, 1)
  const { status, output } = await project.run('start.mjs', {
    env: { REDIS_NODES: 'redis://127.0.0.1:1' }
  })
  t.equal(status, 0)
  t.match(output, /started\n$/)
})

t.test('the service ends when npm was killed', async t => {
  const project = makeProject(t)
  project.write(
    'service.js',
    `
    import { appendFileSync } from 'node:fs'
    const timer = setTimeout(() => {}, 20_000)
    process.once('SIGTERM', () => { appendFileSync('${project.path('said')}', ' ended'); clearTimeout(timer) })
    appendFileSync('${project.path('said')}', 'started')`
  )
  const said = () =>
    existsSync(project.path('said')) ? readFileSync(project.path('said'), 'utf8') : ''
  // Stands in for npm: a process that starts the script and waits.
  const npm = spawn(
    process.execPath,
    ['-e', `require('child_process').spawn('${process.execPath}', ['compose/setup/start.mjs'])`],
    {
      cwd: project.path('.'),
      env: { PATH: project.path('bin'), npm_lifecycle_event: 'start' },
      stdio: 'ignore'
    }
  )
  await until('the service has started', () => said() === 'started')
  npm.kill('SIGKILL')
  await until('the service has ended', () => said() === 'started ended')
})

t.test('a command runs as if it had been called directly', async t => {
  const project = makeProject(t)
  project.write('service.js', 'console.log(JSON.stringify(process.argv.slice(1)))')
  const { status, output } = await project.run('run.mjs', { args: ['src/main', '--room', 'a b'] })
  t.equal(status, 0)
  t.same(JSON.parse(output.trimEnd().split('\n').at(-1) ?? ''), [
    project.path('dist/src/main.js'),
    '--room',
    'a b'
  ])
})

t.test(
  'npm test counts what passed, failed and was skipped, names what failed, and ends with the counts',
  { timeout: 120_000 },
  async t => {
    const project = makeRealProject(t)
    project.write(
      'tests/unit/good.ts',
      "import t from 'tap'\nt.test('is good', async t => {\n  t.ok(true)\n  t.ok(true)\n})\nt.ok(true)\n"
    )
    project.write(
      'tests/unit/bad.ts',
      `import t from 'tap'
t.test('is bad', async t => {
  t.test('deep inside', async t => {
    t.equal(1, 2, 'one is two')
  })
})
t.test('is left out', { skip: 'today' }, async t => {
  t.ok(true)
})
process.exitCode = 3
`
    )
    const bad = await project.run('test.mjs', { hasRealPath: true })
    t.equal(bad.status, 1)
    t.match(
      bad.output,
      /not ok: unit\/bad › is bad › deep inside › one is two\n {4}tests\/unit\/bad\.ts:4\n/
    )
    t.match(bad.output, /FAILED +\d+\.\d s {2}bad: 0 passed, 1 failed, 1 skipped\n/)
    t.match(bad.output, / ok +\d+\.\d s {2}good: 2 passed, 0 failed\n/)
    t.match(bad.output, /\n2 passed, 1 failed, 1 skipped\n$/)

    // Fails the first time, and passes the second.
    project.write(
      'tests/unit/unsteady.ts',
      `import t from 'tap'
import { existsSync, writeFileSync } from 'node:fs'
t.test('is there', async t => {
  t.ok(existsSync('was-here'))
  writeFileSync('was-here', '')
})
`
    )
    const retried = await project.run('test.mjs', {
      hasRealPath: true,
      args: ['unsteady', 'bad', '--retry']
    })
    t.equal(retried.status, 1)
    t.match(retried.output, /Unsteady: unsteady passed at the second try\n/)
    t.notMatch(retried.output, /Unsteady: bad/)
    t.match(retried.output, /\n1 passed, 1 failed, 1 skipped\n$/)
    rmSync(project.path('was-here'))
    const good = await project.run('test.mjs', {
      hasRealPath: true,
      args: ['good', 'unsteady', '--retry']
    })
    t.equal(good.status, 0)
    t.match(good.output, /\n3 passed, 0 failed\n$/)
    rmSync(project.path('tests/unit/unsteady.ts'))

    const unknown = await project.run('test.mjs', { hasRealPath: true, args: ['nonsense'] })
    t.equal(unknown.status, 1)
    t.match(
      unknown.output,
      /No test file has "nonsense" in its name, there are: unit\/bad, unit\/good\n\nIt took 0 min \d+ s\n0 passed, 1 failed\n$/
    )

    project.write('tests/unit/good.ts', 'const count: string = 1\n')
    const mistyped = await project.run('test.mjs', { hasRealPath: true })
    t.equal(mistyped.status, 1)
    t.match(
      mistyped.output,
      /tests\/unit\/good\.ts\(1,7\): error TS2322[^]*\n0 passed, 1 failed\n$/
    )
  }
)
