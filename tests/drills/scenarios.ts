// The faults under which the promises are tested, by name. `npm run drill -- faults` and the tests
// run them at any size.
import { chaos } from './chaos.js'
import {
  growByOne,
  killConnections,
  killMaster,
  killMasterOnly,
  killReplica,
  killWhileMoving,
  moveSome,
  pauseMaster,
  restartService,
  revive,
  rollingRestart,
  shrinkBy
} from './faults.js'
import { type Trial } from './trial.js'
import { type Excused } from './verdict.js'

export type Scenario = {
  readonly about: string
  /** Which POSTs may fail during it. */
  readonly excused: Excused
  /** Writers send an Idempotency-Key and repeat failed POSTs, so in the end none fails. */
  readonly isRepeating?: boolean
  readonly faults?: (trial: Trial) => Promise<void>
}

export const SCENARIOS = {
  none: {
    about: 'no fault',
    excused: 'none'
  },
  'kill-master': {
    about: 'kill -9 of a master; when it is back, of another one, which stays dead',
    excused: '5xx',
    faults: async trial => {
      await revive(trial, await killMasterOnly(trial))
      await killMasterOnly(trial)
    }
  },
  'kill-service': {
    about: 'SIGKILL of a service process, and its restart',
    excused: 'unanswered',
    faults: trial => restartService(trial, 'SIGKILL')
  },
  'repeat-through-kills': {
    about:
      'SIGKILL of both service processes in turn, and of a master, while writers repeat under their keys',
    excused: 'none',
    isRepeating: true,
    faults: async trial => {
      for (const service of trial.world.services) await restartService(trial, 'SIGKILL', service)
      await revive(trial, (await killMaster(trial)).dead)
      await restartService(trial, 'SIGTERM')
    }
  },
  'kill-replica': {
    about: 'kill -9 of a replica, and its restart',
    excused: '5xx',
    faults: killReplica
  },
  'kill-connections': {
    about: 'CLIENT KILL TYPE normal on all nodes, ten times',
    excused: '5xx',
    faults: trial => killConnections(trial, 'normal')
  },
  'kill-subscribers': {
    about: 'CLIENT KILL TYPE pubsub on all nodes, ten times',
    excused: 'none',
    faults: trial => killConnections(trial, 'pubsub')
  },
  'pause-master': {
    about: 'SIGSTOP of a master for 3 s',
    excused: '5xx',
    faults: trial => pauseMaster(trial, 3)
  },
  'replace-master': {
    about:
      'SIGSTOP of a master until its replica has taken over; then it comes back without knowing that',
    excused: '5xx',
    faults: trial => pauseMaster(trial, 8)
  },
  'rolling-restart': {
    about: 'restart of all six nodes, one after the other',
    excused: '5xx',
    faults: trial => rollingRestart(trial, { isHandedOver: false })
  },
  'rolling-failover': {
    about: 'restart of all six nodes, each master after a manual failover',
    excused: 'none',
    faults: trial => rollingRestart(trial, { isHandedOver: true })
  },
  'move-slots': {
    about: 'slots moved between masters, ten times',
    excused: 'none',
    faults: async trial => {
      for (let move = 0; move < 10; move++) await moveSome(trial, 300)
    }
  },
  'change-shards': {
    about: 'a new shard is added and given its share of slots; an old one is drained and removed',
    excused: 'none',
    faults: async trial => {
      const old = trial.pick(await trial.world.operator.masters())
      await growByOne(trial)
      await shrinkBy(trial, old.process)
    }
  },
  'kill-while-moving': {
    about:
      'masters are killed, one after the other, while slots are moved between them; each comes back',
    excused: '5xx',
    faults: killWhileMoving
  },
  chaos: {
    about:
      'for 30 s something at random is broken every 2 s: readers, subscriptions, services, masters, slots',
    excused: 'unanswered',
    faults: trial => chaos(trial, 30)
  },
  'chaos-repeat': {
    about: 'the same, while writers repeat under their keys',
    excused: 'none',
    isRepeating: true,
    faults: trial => chaos(trial, 30)
  }
} as const satisfies Record<string, Scenario>

export type ScenarioName = keyof typeof SCENARIOS
