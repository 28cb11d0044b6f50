// The drills: changes of a cluster under load, made with the commands that a person would use, and
// what they may cost.
import { killMasterOnly, revive, rollingRestart } from './faults.js'
import { type ClusterRuns } from './cluster-runs.js'
import { type Trial } from './trial.js'
import { type Excused } from './verdict.js'

export type Drill = {
  readonly title: string
  readonly about: string
  readonly excused: Excused
  /** Whether POSTs and readers must hardly notice it: see limits.ts. */
  readonly isSmooth: boolean
  readonly perform: (trial: Trial, runs: ClusterRuns) => Promise<void>
}

/** The room of the drills, and its busiest user. */
export const ROOM = 'room123'
export const BUSIEST = 'lady_gaga'

const HALF_WAY = 50

export const DRILLS = {
  reshard: {
    title: 'All slots of one master to another',
    about: 'all slots of a master are moved to another one, and the emptied master is removed',
    excused: 'none',
    isSmooth: true,
    perform: async (trial, runs) => {
      const [from, to] = await masterPorts(trial)
      await runs.run(['status', '--room', ROOM])
      await runs.run(['reshard', '--from', from, '--to', to, '--slots', 'all'])
      await runs.run(['status'])
      await runs.run(['remove', from])
      await runs.run(['status', '--room', ROOM])
    }
  },
  'scale-out': {
    title: 'A fourth shard',
    about: 'a fourth shard is added and given its share of the slots',
    excused: 'none',
    isSmooth: true,
    perform: async (_trial, runs) => {
      await runs.run(['status', '--room', ROOM])
      await runs.run(['add'])
      await runs.run(['rebalance'])
      await runs.run(['status', '--room', ROOM])
    }
  },
  drain: {
    title: 'A drain that is interrupted',
    about: 'a master is drained; Ctrl-C half-way; running the same command again finishes it',
    excused: 'none',
    isSmooth: true,
    perform: async (trial, runs) => {
      const [drained] = await masterPorts(trial)
      await runs.run(['status'])
      await runs.run(['drain', drained], HALF_WAY)
      await runs.run(['status'])
      await runs.run(['drain', drained])
      await runs.run(['status'])
    }
  },
  failover: {
    title: 'A master dies',
    about:
      'kill -9 of a master; its replica takes over; the dead node comes back as a replica; then a failover by hand gives it its place again',
    excused: 'failover',
    isSmooth: false,
    perform: async (trial, runs) => {
      await runs.run(['status'])
      const dead = await killMasterOnly(trial)
      await runs.run(['status']).catch(() => undefined) // its exit status says that a node is dead
      await revive(trial, dead)
      await runs.run(['failover', String(dead.port)])
      await runs.run(['status'])
    }
  },
  'rolling-restart': {
    title: 'Every node is restarted',
    about: 'all six nodes are restarted in turn, each master after a failover by hand',
    excused: 'none',
    isSmooth: false,
    perform: async (trial, runs) => {
      await runs.run(['status'])
      await rollingRestart(trial, { isHandedOver: true })
      await runs.run(['status'])
    }
  }
} as const satisfies Record<string, Drill>

export type DrillName = keyof typeof DRILLS

async function masterPorts({ world }: Trial): Promise<[string, string]> {
  const [first, second] = (await world.operator.masters()).map(({ process }) =>
    String(process.port)
  )
  if (first === undefined || second === undefined) {
    throw new Error('The cluster has fewer than two masters')
  }
  return [first, second]
}
