// Breaks something at random every two seconds: clients, subscriptions, services, masters, slots.
// At most one service and one thing in the cluster are broken at the same time, because the
// promises need a working replica and a working service.
import { setTimeout as sleep } from 'node:timers/promises'
import { killConnections, killMaster, moveSome, restartService, revive } from './faults.js'
import { type Trial } from './trial.js'

const EVERY_MS = 2_000
const CUT_SHARE = 0.1
const SLOTS = 200

export async function chaos(trial: Trial, seconds: number): Promise<void> {
  const { world, pick } = trial
  let service: Promise<void> | undefined
  let cluster: Promise<void> | undefined
  const endMs = performance.now() + 1000 * seconds
  while (performance.now() < endMs) {
    const kinds = [
      cutReaders,
      killSubscriptions,
      ...(service === undefined ? [killService, stopService] : []),
      ...(cluster === undefined ? [replaceMaster, moveSlots] : [])
    ]
    const kind = pick(kinds)
    const work = kind(trial)
    // Do not wait for it: the next fault comes in two seconds.
    if (kind === killService || kind === stopService) {
      service = settling(work, () => {
        service = undefined
      })
    }
    if (kind === replaceMaster || kind === moveSlots) {
      cluster = settling(work, () => {
        cluster = undefined
      })
    }
    await sleep(EVERY_MS)
  }
  await Promise.all([service, cluster])
  await world.operator.untilHealthy()
}

// Keeps a fault whose own work fails, so that `chaos` throws its error at the end. Until then
// nobody else handles the rejection.
function settling(work: Promise<void>, done: () => void): Promise<void> {
  const settled = work.then(done)
  settled.catch(() => undefined)
  return settled
}

async function cutReaders({ world, random, recorders, combined }: Trial): Promise<void> {
  const chosen = [...recorders, ...combined].filter(() => random() < CUT_SHARE)
  for (const recorder of chosen) recorder.cut()
  world.did(`${chosen.length} readers cut`)
}

const killSubscriptions = (trial: Trial): Promise<void> => killConnections(trial, 'pubsub', 1)
const killService = (trial: Trial): Promise<void> => restartService(trial, 'SIGKILL')
const stopService = (trial: Trial): Promise<void> => restartService(trial, 'SIGTERM')
const replaceMaster = async (trial: Trial): Promise<void> => {
  await revive(trial, (await killMaster(trial)).dead)
}
const moveSlots = (trial: Trial): Promise<void> => moveSome(trial, SLOTS)
