// Network partitions: each node has a host of its own (a network namespace), packets are dropped
// silently, and the verdict covers every message that was sent, answered, stored and streamed. `npm
// run drill -- partitions` does the same at full size, with the same code.
import t, { type Test } from 'tap'
import { partitionOf } from '../drills/faults-command.js'
import { latencyText, verdictText } from '../drills/figures.js'
import { Hosts } from '../drills/hosts.js'
import { HOSTS, PARTITIONS, type PartitionName } from '../drills/partitions.js'
import { Trial } from '../drills/trial.js'
import '../support/embedded.js'

const SEED = Number(process.env['SEED'] ?? 1)
const size = { messages: 2000, rate: 200, writers: 40, rooms: 20, readers: 20, seed: SEED }

const skip = Hosts.unavailable() ?? false
const hosts = skip === false ? await Hosts.make(HOSTS) : undefined
t.teardown(() => {
  hosts?.remove()
})

async function keepsItsPromises(t: Test, name: PartitionName): Promise<void> {
  if (hosts === undefined) return
  await Trial.hold(
    {
      ...partitionOf(PARTITIONS[name], size, hosts),
      report: line => {
        t.comment(line)
      }
    },
    (trial, verdict) => {
      for (const line of `${verdictText(verdict)}\n${latencyText(trial)}`.split('\n')) {
        t.comment(line)
      }
      t.same(verdict.violations, [])
      t.ok(verdict.posts.acknowledged > 0)
      t.equal(verdict.frames.received, verdict.frames.expected)
    }
  )
}

t.test(
  "a master's host is cut off: its replica takes over, and nothing acknowledged is lost",
  { skip },
  t => keepsItsPromises(t, 'cut-master')
)
t.test(
  'a minority with a service in it is cut off: nothing that it acknowledges is lost',
  { skip },
  t => keepsItsPromises(t, 'minority')
)
t.test(
  "a replica's host vanishes: its master goes on alone as soon as the others suspect it",
  { skip },
  t => keepsItsPromises(t, 'cut-replica')
)
t.test(
  'the link between a service and a master is cut: what needs both is refused at once, all else goes on',
  { skip },
  t => keepsItsPromises(t, 'cut-link')
)
t.test(
  'a master and its replica are cut off from each other: their shard refuses writes at once, the others go on',
  { skip },
  t => keepsItsPromises(t, 'apart')
)
