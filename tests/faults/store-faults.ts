// The store under faults: many writers on two service processes, and a verdict over every message
// that was sent, answered, stored and streamed. `npm run drill -- faults --messages 100000` does
// the same at full size, with the same code.
import t, { type Test } from 'tap'
import { EXPERIMENTS, type ExperimentName } from '../drills/bounds-command.js'
import { trialOf } from '../drills/faults-command.js'
import { latencyText, verdictText } from '../drills/figures.js'
import { SCENARIOS, type ScenarioName } from '../drills/scenarios.js'
import { Trial } from '../drills/trial.js'
import { elsewhere } from '../support/elsewhere.js'

const SEED = Number(process.env['SEED'] ?? 1)
/**
 * The load lasts as long as the fault, so most trials send more than this. It leaves half of a slow
 * machine free, even while two trials run: the faults are to be tested, not a lack of processors.
 */
const [messages, rate] = elsewhere === false ? [1600, 200] : [500, 100]
const size = { messages, rate, writers: 50, rooms: 20, readers: 20, seed: SEED }
/** For faults that take so long that many more messages are sent anyway. */
const SLOW_RATE = 100

t.jobs = 2 // a trial keeps less than one processor busy, and mostly waits for its cluster

async function keepsItsPromises(
  t: Test,
  name: ScenarioName,
  options: { readonly hasRights?: boolean; readonly rate?: number } = {}
): Promise<void> {
  await Trial.hold(
    {
      ...trialOf(SCENARIOS[name], { ...size, ...options }),
      report: line => {
        t.comment(line)
      }
    },
    (trial, verdict) => {
      for (const line of `${verdictText(verdict)}\n${latencyText(trial)}`.split('\n')) {
        t.comment(line)
      }
      t.same(verdict.violations, [])
      t.ok(verdict.posts.acknowledged >= size.messages / 2, 'most messages were acknowledged')
      t.equal(verdict.frames.received, verdict.frames.expected)
      if (trial.expiring === undefined) return
      const { expired, refused } = trial.expiring.counts
      t.ok(expired >= 8 && refused >= 8, `${expired} streams expired, ${refused} were refused`)
    }
  )
}

async function keepsItsBounds(t: Test, name: ExperimentName, scale: number): Promise<void> {
  const { figures, violations } = await EXPERIMENTS[name].hold({
    scale,
    seed: SEED,
    report: line => {
      t.comment(line)
    }
  })
  for (const line of figures) t.comment(line)
  t.same(violations, [])
}

t.test(
  'fifty writers on two processes: every room is 1…n, every 201 is where it said',
  { skip: elsewhere },
  t => keepsItsPromises(t, 'none')
)
t.test(
  'a master is killed, and another one when it is back: nothing acknowledged is lost or doubled',
  t => keepsItsPromises(t, 'kill-master')
)
t.test(
  'a service process that asks for tokens is killed: nothing is lost, and rights end on time',
  { skip: elsewhere },
  t => keepsItsPromises(t, 'kill-service', { hasRights: true })
)
t.test(
  'services and a master are killed while writers repeat under their keys: every message is stored once',
  t => keepsItsPromises(t, 'repeat-through-kills')
)
t.test('a replica is killed: nothing is lost', { skip: elsewhere }, t =>
  keepsItsPromises(t, 'kill-replica')
)
t.test('all connections to Redis are killed ten times: nothing is lost or doubled', t =>
  keepsItsPromises(t, 'kill-connections')
)
t.test('a master stands still for 3 s: nothing is lost or doubled', { skip: elsewhere }, t =>
  keepsItsPromises(t, 'pause-master')
)
t.test('a master comes back after its replica has taken over: nothing acknowledged is lost', t =>
  keepsItsPromises(t, 'replace-master')
)
t.test('all nodes are restarted in turn: nothing acknowledged is lost', { skip: elsewhere }, t =>
  keepsItsPromises(t, 'rolling-restart', { rate: SLOW_RATE })
)
t.test('all nodes are restarted in turn, masters after a failover by hand: no POST fails', t =>
  keepsItsPromises(t, 'rolling-failover', { rate: SLOW_RATE })
)
t.test('slots are moved ten times: no POST fails', t =>
  keepsItsPromises(t, 'move-slots', { rate: SLOW_RATE })
)
t.test('a shard is added and another one drained and removed: no POST fails', t =>
  keepsItsPromises(t, 'change-shards', { rate: SLOW_RATE })
)
t.test(
  'a storm of repeated POSTs at both processes, with connections cut, stores one message a key',
  t => keepsItsBounds(t, 'repeat-storm', 1)
)
t.test(
  'if one user writes everything, all shards fill evenly, and no key grows with the number of messages',
  { skip: elsewhere },
  t => keepsItsBounds(t, 'evenness', 0.1)
)
