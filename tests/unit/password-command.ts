// A password that a command prints: when the command runs, and what happens when it fails.
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { PasswordCommand, type PasswordCommandOptions } from '../../src/config/password-command.js'
import { clockOf } from '../support/clock.js'
import { temporaryDir } from '../support/embedded.js'
import { until } from '../support/until.js'

// Prints the file `password`, and writes a line to the file `runs`.
function commandIn(
  t: Test,
  options: Partial<PasswordCommandOptions> = {}
): { source: PasswordCommand; says: (password: string) => void; runs: () => number } {
  const dir = temporaryDir(t)
  const file = join(dir, 'password')
  const runs = join(dir, 'runs')
  appendFileSync(runs, '')
  return {
    source: new PasswordCommand(`echo >> ${runs}; cat ${file}`, { maxAgeMs: 60_000, ...options }),
    says: password => {
      writeFileSync(file, password)
    },
    runs: () => readFileSync(runs, 'utf8').length
  }
}

t.test('it runs once for many connections, and again when the password is too old', async t => {
  const advance = clockOf(t)
  const { source, says, runs } = commandIn(t)
  says('first\n')
  t.same(await Promise.all([source.current(), source.current(), source.current()]), [
    'first',
    'first',
    'first'
  ])
  says('second')
  advance(50_000)
  t.equal(await source.current(), 'first')
  t.equal(runs(), 1)
  advance(10_000)
  t.equal(await source.current(), 'second')
  t.equal(runs(), 2)
})

t.test('it runs again when Redis has refused the password, at most once a second', async t => {
  const advance = clockOf(t)
  const { source, says, runs } = commandIn(t)
  says('first')
  await source.current()
  says('second')
  t.equal(await source.insteadOf('first'), 'first', 'it has just run')
  t.equal(runs(), 1)
  advance(1000)
  t.same(await Promise.all([source.insteadOf('first'), source.insteadOf('first')]), [
    'second',
    'second'
  ])
  t.equal(runs(), 2)
  advance(1000)
  t.equal(
    await source.insteadOf('first'),
    'second',
    'another connection has run it in the meantime'
  )
  t.equal(runs(), 2)
})

t.test('while it fails, the last password is used; without one, it is an error', async t => {
  const advance = clockOf(t)
  const { source, says, runs } = commandIn(t)
  await t.rejects(source.current(), { message: 'REDIS_PASSWORD_COMMAND ended with status 1' })
  await t.rejects(source.current(), { message: 'REDIS_PASSWORD_COMMAND ended with status 1' })
  t.equal(runs(), 1)
  says('first')
  advance(1000)
  t.equal(await source.current(), 'first')
  says('two\nlines')
  advance(60_000)
  t.equal(await source.current(), 'first')
  advance(1000)
  t.equal(await source.insteadOf('first'), 'first')
  t.equal(runs(), 4)
})

t.test('invalid output is reported without being quoted', async t => {
  const fails = async (command: string, reason: string): Promise<void> => {
    await t.rejects(
      new PasswordCommand(command, { maxAgeMs: 1000, timeoutMs: 5000 }).current(),
      { message: `REDIS_PASSWORD_COMMAND ${reason}` },
      command
    )
  }
  await fails('true', 'printed nothing')
  await fails('echo; echo " "', 'printed nothing')
  await fails('echo S3kr; echo S3kr', 'printed more than one line')
  await fails('echo S3kr; exit 7', 'ended with status 7')
  await fails('kill -9 $$', 'ended with SIGKILL')
  await fails('/nowhere/S3kr', 'ended with status 127')
  const printing = (bytes: number): string => `head -c ${bytes} /dev/zero | tr '\\0' x`
  for (const bytes of [65_535, 65_536]) {
    const { length } = await new PasswordCommand(printing(bytes), { maxAgeMs: 1000 }).current()
    t.equal(length, bytes)
  }
  await fails(printing(65_537), 'printed more than 65536 bytes')
})

t.test('a command that takes too long is ended together with its children', async t => {
  const file = join(temporaryDir(t), 'pid')
  const source = new PasswordCommand(`sleep 600 & echo $! > ${file}; wait`, {
    maxAgeMs: 1000,
    timeoutMs: 500
  })
  await t.rejects(source.current(), {
    message: 'REDIS_PASSWORD_COMMAND was not done after 500 ms'
  })
  const pid = readFileSync(file, 'utf8').trim()
  await until('its child is gone', () => !isRunning(pid))
})

// A killed child may remain as a zombie until its parent reaps it.
function isRunning(pid: string): boolean {
  return (
    existsSync(`/proc/${pid}/stat`) && !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  )
}
