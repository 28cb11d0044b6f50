// Which deletions another process takes over, by the claims in the list.
import t from 'tap'
import { type Cluster } from '../../src/redis/cluster.js'
import { unfinishedKey } from '../../src/store/keys.js'
import { UnfinishedDeletions } from '../../src/store/unfinished-deletions.js'
import { clockOf } from '../support/clock.js'

const CLAIM_MS = 60_000
const HOUR_MS = 3_600_000

/** Claims of one place by room; the other places are empty. */
function listOf(claims: ReadonlyMap<string, number>): UnfinishedDeletions {
  const command = async (_slot: number, [, key]: readonly string[]): Promise<string[]> =>
    key === unfinishedKey(0)
      ? [...claims].flatMap(([room, untilMs]) => [room, String(untilMs)])
      : []
  return new UnfinishedDeletions({ command } as unknown as Cluster, {
    claimMs: CLAIM_MS,
    deadlineMs: 1000
  })
}

t.test('a claim is overdue after its time', async t => {
  const now = Date.now()
  const list = listOf(
    new Map([
      ['late', now - 1],
      ['early', now + CLAIM_MS]
    ])
  )
  t.strictSame(
    (await list.overdue()).map(({ room }) => room),
    ['late']
  )
})

t.test('a claim of a process whose clock is ahead is overdue when it is not renewed', async t => {
  const advance = clockOf(t)
  const claims = new Map([
    ['dead', Date.now() + HOUR_MS],
    ['alive', Date.now() + HOUR_MS]
  ])
  const list = listOf(claims)
  const overdue = async (): Promise<string[]> => (await list.overdue()).map(({ room }) => room)
  t.strictSame(await overdue(), [])
  for (let renewals = 0; renewals < 3; renewals++) {
    advance(CLAIM_MS / 4)
    claims.set('alive', (claims.get('alive') ?? 0) + CLAIM_MS / 4)
    t.strictSame(await overdue(), [])
  }
  advance(CLAIM_MS / 4 + 1000)
  t.strictSame(await overdue(), ['dead'])
})
