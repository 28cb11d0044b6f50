// Is a node that does not answer dead, or only cut off from this process? That depends on when the
// other masters last heard it.
import t, { type Test } from 'tap'
import { Reach, type Witness } from '../../src/redis/reach.js'
import { until } from '../support/until.js'

t.jobs = 8

type Voter = {
  readonly voter: string
  /**
   * When this master last heard the node, and when it last heard anybody, by its own clock, which
   * keeps running.
   */
  readonly heardMs: () => number
  readonly newestMs: () => number
  suspects: boolean
}

/** Clocks of masters differ. */
const clock = (aheadMs: number) => (): number => Date.now() + aheadMs

function voter(voter: string, aheadMs: number, heardMs = clock(aheadMs)): Voter {
  return { voter, heardMs, newestMs: clock(aheadMs), suspects: false }
}

const stopped = (aheadMs: number): (() => number) => {
  const at = clock(aheadMs)()
  return () => at
}

function watched(t: Test, voters: readonly Voter[], quorum = 1) {
  const state = { answers: false, isFailed: false, probes: 0 }
  const changes: boolean[] = []
  const reach = new Reach({
    probe: async () => {
      state.probes++
      if (!state.answers) throw new Error('no answer')
    },
    witnesses: async () =>
      state.isFailed
        ? undefined
        : {
            quorum,
            found: voters
              .filter(({ suspects }) => !suspects)
              .map(({ voter, heardMs, newestMs }): Witness => ({
                voter,
                heardMs: heardMs(),
                newestMs: newestMs()
              }))
          },
    onChange: isCutOff => {
      changes.push(isCutOff)
    }
  })
  t.teardown(() => {
    reach.close()
  })
  return { reach, state, changes }
}

t.test('a node that the majority still hears is cut off, until it answers', async t => {
  const { reach, state, changes } = watched(t, [voter('a', 5000), voter('b', -5000)])
  reach.noteLost()
  await until('it is cut off', () => changes.length === 1)
  reach.noteLost()
  state.answers = true
  await until('it is not', () => changes.length === 2)
  t.strictSame(changes, [true, false])
  state.answers = false
  await until('it is cut off again', () => {
    reach.noteLost()
    return changes.length === 3
  })
})

t.test('a node that answers other connections than the probe is not cut off', async t => {
  const { reach, state, changes } = watched(t, [voter('a', 5000), voter('b', -5000)])
  let answeredAt = 0
  await until('it was watched for long', () => {
    reach.noteLost()
    if (state.probes - answeredAt >= 3) {
      reach.noteAnswered()
      answeredAt = state.probes
    }
    return state.probes > 14
  })
  t.strictSame(changes, [])
})

t.test('a node that nobody hears any more is waited for', async t => {
  const { reach, state, changes } = watched(t, [
    voter('a', 5000, stopped(5000)),
    voter('b', -5000, stopped(-5000))
  ])
  reach.noteLost()
  await until('it was watched for long', () => state.probes > 10)
  t.strictSame(changes, [])
})

t.test('a report that a master heard the node before the silence is no sign of life', async t => {
  const heard = stopped(0)
  let told = heard() - 1000
  const { reach, state, changes } = watched(t, [voter('a', 0, () => told)])
  reach.noteLost()
  await until('it was watched', () => state.probes > 1)
  told = heard()
  await until('it was watched for long', () => state.probes > 10)
  t.strictSame(changes, [])
})

t.test('nor is a report from a master that was itself silent for a while', async t => {
  const heard = stopped(0)
  let isLate = false
  const late: Voter = { ...voter('a', 0, heard), newestMs: () => heard() - 500 }
  const { reach, state, changes } = watched(t, [
    Object.defineProperty(late, 'suspects', { get: () => isLate })
  ])
  reach.noteLost()
  await until('it was watched', () => state.probes > 1)
  isLate = true
  await until('it was watched for a while', () => state.probes > 7)
  Object.assign(late, { newestMs: clock(0) })
  isLate = false
  await until('it was watched for long', () => state.probes > 12)
  t.strictSame(changes, [])
})

t.test('it does not count if only a minority hears the node', async t => {
  const { reach, state, changes } = watched(t, [voter('a', 0), voter('b', 0, stopped(0))], 2)
  reach.noteLost()
  await until('it was watched for long', () => state.probes > 10)
  t.strictSame(changes, [])
})

t.test('a node that was cut off and then dies is waited for as well', async t => {
  const [one, other] = [voter('a', 0), voter('b', 0)]
  const { reach, changes } = watched(t, [one, other])
  reach.noteLost()
  await until('it is cut off', () => changes.length === 1)
  one.suspects = true
  other.suspects = true
  await until('it is not', () => changes.length === 2)
})

t.test('a node that the cluster considers failed is not watched', async t => {
  const { reach, state, changes } = watched(t, [voter('a', 0)])
  reach.noteLost()
  await until('it is cut off', () => changes.length === 1)
  state.isFailed = true
  await until('it is not', () => changes.length === 2)
})

t.test('nobody is asked about a failed node, however many commands fail', async t => {
  const { reach, state, changes } = watched(t, [voter('a', 0)])
  state.isFailed = true
  for (let n = 0; n < 1000; n++) {
    reach.noteLost()
    if (n % 10 === 0) await new Promise(resolve => setImmediate(resolve))
  }
  t.equal(state.probes, 0)
  t.strictSame(changes, [])
  state.isFailed = false
  await until('it is watched once the cluster no longer considers it failed', () => {
    reach.noteLost()
    return state.probes > 0
  })
})
