// How failures are logged: completely, and once a second for each kind.
import { Writable } from 'node:stream'
import { mock } from 'node:test'
import { pino } from 'pino'
import t from 'tap'
import { Reports } from '../../src/reports.js'

type Line = Readonly<Record<string, unknown>>

function logged(): { readonly lines: Line[]; readonly reports: Reports } {
  const lines: Line[] = []
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)) as Line)
      done()
    }
  })
  return {
    lines,
    reports: new Reports(pino({ serializers: { err: pino.stdSerializers.errWithCause } }, sink))
  }
}

t.beforeEach(() => {
  mock.timers.enable({ apis: ['setTimeout'] })
})
t.afterEach(() => {
  mock.timers.reset()
})

t.test('an error is logged with its message, stack and all its causes', async t => {
  const { lines, reports } = logged()
  const cause = new AggregateError(
    [new Error('first reason'), new Error('second reason')],
    'several reasons'
  )
  reports.report('x', {
    level: 'error',
    message: 'failed',
    error: new Error('outermost', { cause })
  })
  t.match(lines, [
    {
      level: 50,
      msg: 'failed',
      err: {
        message: 'outermost',
        stack: /reports\.[jt]s/,
        cause: {
          message: 'several reasons',
          aggregateErrors: [{ message: 'first reason', stack: /at / }, { message: 'second reason' }]
        }
      }
    }
  ])
  reports.report('y', { level: 'error', message: 'no error', error: 'a string' })
  t.match(lines[1], { err: 'a string' })
  reports.report('z', { level: 'warn', message: 'without a cause', fields: { code: 'STOPPING' } })
  t.strictSame(Object.keys(lines[2] ?? {}).sort(), [
    'code',
    'hostname',
    'level',
    'msg',
    'pid',
    'time'
  ])
})

t.test(
  '10,000 failures of a kind make one line at once and then one a second with their number',
  async t => {
    const { lines, reports } = logged()
    for (let n = 0; n < 10_000; n++) {
      reports.report('full', { level: 'warn', message: 'full', fields: { n } })
    }
    t.strictSame(
      lines.map(({ n, count }) => [n, count]),
      [[0, undefined]]
    )
    mock.timers.tick(1000)
    t.strictSame(
      lines.map(({ n, count }) => [n, count]),
      [
        [0, undefined],
        [9999, 9999]
      ]
    )
    mock.timers.tick(1000)
    reports.report('full', { level: 'warn', message: 'full', fields: { n: -1 } })
    t.strictSame(
      lines.at(-1)?.['n'],
      -1,
      'after a quiet second, the next failure is logged at once'
    )
    reports.report('full', { level: 'warn', message: 'full', fields: { n: -2 } })
    reports.flush()
    t.strictSame(lines.at(-1)?.['n'], -2, 'and what is still counted at the end')
  }
)

t.test('beyond a hundred kinds in a second, all others count as one kind', async t => {
  const { lines, reports } = logged()
  for (let n = 0; n < 1000; n++) reports.report(`kind ${n}`, { level: 'warn', message: String(n) })
  t.equal(lines.length, 101)
  mock.timers.tick(1000)
  t.match(lines.at(-1), { msg: '999', count: 899 })
})
