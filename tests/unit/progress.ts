import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import { Progress, type ProgressOptions, time } from '../../src/cli/progress.js'
import { until } from '../support/until.js'

t.test('without a terminal it prints a plain line per second and one at the end', async t => {
  const { progress, seen, shows } = start(t, { unit: 'messages', total: 2000 }, false)
  progress.update(500, 3)
  await shows(/\n/)
  t.match(seen(), /^ 25 % {2}500 of 2,000 messages {2}[\d,]+\/s {2}3 errors {2}\d+ s left\n$/)
  progress.update(2000, 4)
  progress.stop()
  t.match(seen(), /\n100 % {2}2,000 of 2,000 messages {2}[\d,]+\/s {2}4 errors\n$/)
  t.notMatch(seen(), '\x1b', 'nothing but text')
})

t.test('on a terminal, a bar is drawn in place, and the cursor is restored', async t => {
  const { progress, seen, shows } = start(t, { unit: 'messages', total: 2000 }, true)
  progress.update(1000)
  await shows(/█{12}░{12} {2}50 % {2}1,000 of 2,000 messages/)
  progress.print('a shard has joined')
  await shows(/a shard has joined\n[^]*1,000 of 2,000/)
  progress.stop()
  t.ok(
    seen().lastIndexOf('\x1b[?25h') > seen().lastIndexOf('\x1b[?25l'),
    'the cursor is shown again'
  )
})

t.test('a timed command shows how much of its time has passed, not how many items', async t => {
  const { progress, shows } = start(t, { unit: 'messages', durationMs: 200 }, true)
  progress.update(7)
  await shows(/100 % {2}7 messages/)
})

t.test('of nothing, everything is done', async t => {
  const { progress, seen } = start(t, { unit: 'entries', total: 0 }, false)
  progress.stop()
  t.match(seen(), /^100 % {2}0 of 0 entries {2}0\/s {2}0 errors\n$/)
})

t.test('without an end it only counts', async t => {
  const { progress, seen } = start(t, { unit: 'keys' }, false)
  progress.update(12_345)
  progress.stop()
  t.match(seen(), /^12,345 keys {2}[\d,]+\/s {2}0 errors\n$/)
})

t.test('times are rounded up and short', async t => {
  t.strictSame([0, 1, 59_000, 59_001, 3_599_000, 3_600_000, 36_660_000].map(time), [
    '0 s',
    '1 s',
    '59 s',
    '1 min 0 s',
    '59 min 59 s',
    '1 h 0 min',
    '10 h 11 min'
  ])
})

function start(t: Test, options: ProgressOptions, isTTY: boolean) {
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 120, rows: 24 })
  let text = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  // A stream with the members of a terminal that are used.
  const progress = new Progress({ ...options, output: stream as unknown as NodeJS.WriteStream })
  t.teardown(() => progress.stop())
  const shows = (pattern: RegExp): Promise<void> => until(String(pattern), () => pattern.test(text))
  // A PassThrough delivers its data on a later turn unless it is read.
  const seen = (): string => text + String(stream.read() ?? '')
  return { progress, seen, shows }
}
