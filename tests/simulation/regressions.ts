// Failures that the simulation has found in the service, each shrunk to what it takes. Plans, not
// seeds: what a seed means changes with plan.ts.
import { type Plan, planOf } from './plan.js'
import { Random } from './random.js'

export type Regression = { readonly name: string; readonly plan: Plan }

const base: Plan = {
  ...planOf('regression', new Random('regression')),
  kind: '7.0',
  replicas: 1,
  nodeTimeoutMs: 2000,
  instances: 3,
  rooms: ['lobby', 'kitchen'],
  users: ['ann', 'bob'],
  network: { latencyMsMax: 0.5260713422160727, piecesChance: 0.05 },
  faults: { lagChance: 0.05, lagMsMax: 83.083255796231, slowSync: false },
  quietMs: 300
}

export const REGRESSIONS: readonly Regression[] = [
  {
    // node-redis threw in its data handler, and the process ended. Found as seed 411: 78 actions,
    // shrunk to these.
    name: 'a node with too many clients that says so on an idle connection does not end the process',
    plan: {
      ...base,
      seed: '411',
      service: {
        ...base.service,
        blockLength: 10,
        segmentLength: 4,
        groupLengthMax: 1,
        queueLengthMax: 10000,
        storeDeadlineMs: 6000,
        lostPatienceMs: 300,
        commandTimeoutMs: 2000,
        connectTimeoutMs: 1000,
        writeConnections: 2,
        ringLengthMax: 4,
        ringBytesMax: 200,
        earlyLengthMax: 3,
        gapWaitMs: 10,
        roomLingerMs: 100,
        auditMs: 1000,
        heartbeatMs: 500,
        socketBytesMax: 65536,
        stalledMsMax: 1500,
        checksRequirements: false
      },
      actions: [
        {
          at: 35.68729967360486,
          kind: 'post',
          instance: 1,
          room: 'kitchen',
          user: 'ann',
          text: 'text 23',
          once: undefined
        },
        { at: 207.2369269069486, kind: 'mood', node: 1, mood: 'crowded', ms: 2942.7946844618054 },
        {
          at: 251.21517083103282,
          kind: 'read',
          instance: 0,
          rooms: ['lobby'],
          last: undefined,
          bytesPerMs: Infinity
        },
        {
          at: 868.2573310641695,
          kind: 'post',
          instance: 1,
          room: 'lobby',
          user: 'ann',
          text: 'text 39',
          once: undefined
        }
      ],
      calmAt: 7430.622627027333
    }
  }
]
