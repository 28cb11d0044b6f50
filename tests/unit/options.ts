// What the commands say about wrong arguments. Their output may be kept, so it quotes no secret.
import t from 'tap'
import { readClusterOptions } from '../../src/cli/cluster/cluster-options.js'
import { readOptions, readUrl } from '../../src/cli/options.js'

const SECRETS = [
  'redis://ann:S3kr@a:6379',
  'ann:S3kr@a:6379',
  'rediss://:S3kr@[::1]',
  'eyJhbGciOiJIUzI1NiJ9.S3kr.S3kr-S3kr'
]

function refusal(read: () => unknown): Error {
  try {
    read()
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('Nothing was refused')
}

for (const secret of SECRETS) {
  t.test(`${secret.slice(0, 8)}… in a wrong place is not quoted`, t => {
    for (const { name, message, cause } of [
      refusal(() => readOptions([secret], {})),
      refusal(() => readOptions([`--x=${secret}`], {})),
      refusal(() => readUrl('url', secret)),
      refusal(() => readClusterOptions([secret])),
      refusal(() => readClusterOptions(['add', secret])),
      refusal(() => readClusterOptions(['status', secret]))
    ]) {
      t.equal(name, 'UsageError')
      t.notMatch(message, 'S3kr')
      t.equal(cause, undefined)
    }
    t.end()
  })
}

t.test('anything else is quoted, so that the mistake is seen', t => {
  t.match(
    refusal(() => readOptions(['--rooom', 'a'], {})),
    { message: /'--rooom'/ }
  )
  t.match(
    refusal(() => readUrl('url', '127.0.0.1:8080')),
    { message: /not '127.0.0.1:8080'/ }
  )
  t.end()
})
