// The faults. Unless its comment says otherwise, a fault resolves when it is over: whatever was
// stopped runs again, and the cluster is healthy. The trial's random numbers select the targets.
import { setTimeout as sleep } from 'node:timers/promises'
import { type EmbeddedNode } from '../../src/embedded/node.js'
import { type Admin } from '../../src/cli/cluster/admin.js'
import { addShard, removeNodes } from '../../src/cli/cluster/membership.js'
import { moveSlots } from '../../src/cli/cluster/mover.js'
import { planDrain, planRebalance, planReshard, type Move } from '../../src/cli/cluster/plan.js'
import { type Member } from './operator.js'
import { type Trial } from './trial.js'
import { type Takeover } from './verdict.js'

/** What a fault works on. */
export type Scene = Pick<Trial, 'world' | 'pick' | 'random'>

const HOST = '127.0.0.1'
/**
 * Percent. A drill moves slots fast, so that much happens at once; the command's own default is
 * gentler.
 */
const SPEED = 100
const DEAD_MS = 3_000
/** Redis gives up a manual failover after 5 s. */
const FAILOVER_EVERY_MS = 6_000
const KILLS = 10
const KILLS_EVERY_MS = 300

/** kill -9 of a master. Resolves when its replica has taken over. The dead node stays dead. */
export async function killMaster({
  world,
  pick
}: Scene): Promise<{ readonly dead: EmbeddedNode; readonly takeover: Takeover }> {
  const { operator } = world
  const { process: dead, node } = pick(await operator.masters())
  world.did(`kill -9 of the master ${dead.port}`)
  await dead.kill('SIGKILL')
  const killedMs = performance.now()
  const takenOverMs = await operator.untilTakenOver(node.slots[0]?.[0] ?? 0, dead)
  world.did(`its replica has taken over after ${Math.round(takenOverMs - killedMs)} ms`)
  return { dead, takeover: { slots: node.slots, killedMs, takenOverMs } }
}

/**
 * Like killMaster; in addition, the verdict judges how soon writing resumed. Only for trials in
 * which nothing else is broken at that time.
 */
export async function killMasterOnly(trial: Trial): Promise<EmbeddedNode> {
  const { dead, takeover } = await killMaster(trial)
  trial.takeovers.push(takeover)
  return dead
}

/** Starts a dead node again, and waits until it is a healthy replica. */
export async function revive({ world }: Scene, node: EmbeddedNode): Promise<void> {
  await node.start()
  world.did(`the node ${node.port} is back`)
  await world.operator.untilHealthy()
  world.did('the cluster is healthy')
}

export async function killReplica({ world, pick }: Scene): Promise<void> {
  const { process } = pick(await world.operator.replicas())
  world.did(`kill -9 of the replica ${process.port}`)
  await process.kill('SIGKILL')
  // Long enough for the cluster to consider it dead.
  await sleep(DEAD_MS)
  await process.start()
  world.did(`the replica ${process.port} is back`)
  await world.operator.untilHealthy()
}

/**
 * Pauses a master for a while. When it resumes, it knows neither that time has passed nor that its
 * replica may have taken over.
 */
export async function pauseMaster({ world, pick }: Scene, seconds: number): Promise<void> {
  const { operator } = world
  const { process } = pick(await operator.masters())
  world.did(`SIGSTOP of the master ${process.port}`)
  await operator.pause(process)
  await sleep(1000 * seconds)
  await operator.resume(process)
  world.did(`SIGCONT of ${process.port}`)
  await operator.untilHealthy()
}

/** Kills all connections of clients (`normal`) or of subscribers (`pubsub`) on all nodes. */
export async function killConnections(
  { world }: Scene,
  type: 'normal' | 'pubsub',
  times = KILLS
): Promise<void> {
  for (let kill = 0; kill < times; kill++) {
    const killed = await world.operator.askAll('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')
    world.did(
      `CLIENT KILL TYPE ${type}: ${killed.reduce<number>((sum, count) => sum + Number(count), 0)} connections`
    )
    await sleep(KILLS_EVERY_MS)
  }
}

/** Ends a service process, any one by default, and starts it again. */
export async function restartService(
  { world, pick }: Scene,
  signal: 'SIGKILL' | 'SIGTERM',
  service = pick(world.services)
): Promise<void> {
  world.did(`${signal} to the service ${service.url}`)
  const status = await service.end(signal)
  world.did(`it ended${status === null ? '' : ` with status ${status}`}`)
  await service.start()
  world.did('it is back')
}

/**
 * Restarts all nodes one after the other, each when the cluster is healthy. Masters may be replaced
 * by their replica before that.
 */
export async function rollingRestart(
  { world }: Scene,
  { isHandedOver }: { readonly isHandedOver: boolean }
): Promise<void> {
  const { operator, cluster } = world
  for (const process of cluster.nodes) {
    const member = (await operator.members()).find(member => member.process === process)
    if (isHandedOver && member?.node.role === 'master') await handOver(world, member)
    world.did(`restart of ${process.port}`)
    await process.stop()
    await process.start()
    await operator.untilHealthy()
  }
}

/** Lets a replica take over while its master is alive (`CLUSTER FAILOVER`), which loses nothing. */
async function handOver(world: Trial['world'], master: Member): Promise<void> {
  const { operator } = world
  const replica = (await operator.replicas()).find(({ node }) => node.masterId === master.node.id)
  if (replica === undefined) throw new Error(`The master ${master.process.port} has no replica`)
  world.did(`CLUSTER FAILOVER from ${master.process.port} to ${replica.process.port}`)
  await operator.ask(replica.process, 'CLUSTER', 'FAILOVER')
  // A replica that has become the master in the meantime refuses the command, which does no harm.
  const again = setInterval(() => {
    operator.ask(replica.process, 'CLUSTER', 'FAILOVER').catch(() => undefined)
  }, FAILOVER_EVERY_MS)
  try {
    await operator.untilTakenOver(master.node.slots[0]?.[0] ?? 0, master.process)
  } finally {
    clearInterval(again)
  }
  await operator.untilHealthy()
}

/** Moves some slots of a master, selected at random, to another. */
export async function moveSome({ world, pick, random }: Scene, count: number): Promise<void> {
  await world.administer(async admin => {
    const holdings = (await admin.look()).holdings.filter(({ slots }) => slots.length > 0)
    const from = pick(holdings)
    const to = pick(holdings.filter(holding => holding !== from))
    const first = Math.floor(random() * Math.max(1, from.slots.length - count))
    await move(world, admin, planReshard([from], to, from.slots.slice(first, first + count)))
  })
}

/**
 * Moves slots while masters are killed: half-moved slots must survive. Moves so few slots that no
 * master is ever emptied, because two masters cannot elect a third.
 */
export async function killWhileMoving(trial: Scene): Promise<void> {
  for (let kill = 0; kill < 3; kill++) {
    const moving = moveSome(trial, 1200)
    moving.catch(() => undefined)
    await sleep(500 + 1000 * trial.random())
    const { dead } = await killMaster(trial)
    await sleep(1000)
    await revive(trial, dead)
    await moving
  }
}

/**
 * Starts a new, empty master with a replica, and moves its share of slots to it.
 * @returns the new master
 */
export async function growByOne({ world }: Scene): Promise<EmbeddedNode> {
  const [master, replica] = [await world.cluster.addNode(), await world.cluster.addNode()]
  await world.administer(async admin => {
    await addShard(admin, { host: HOST, port: master.port }, [{ host: HOST, port: replica.port }])
    world.did(`new empty master ${master.port} with its replica ${replica.port}`)
    await move(world, admin, planRebalance((await admin.look()).holdings))
  })
  return master
}

/** Moves all slots of a master to the others, and removes it from the cluster with its replicas. */
export async function shrinkBy({ world }: Scene, master: EmbeddedNode): Promise<void> {
  const { cluster } = world
  await world.administer(async admin => {
    const map = await admin.look()
    const leaving = map.masterNamed(String(master.port))
    await move(
      world,
      admin,
      planDrain(
        { id: leaving.id, slots: map.slotsOf(leaving.id) },
        map.holdings.filter(({ id }) => id !== leaving.id)
      )
    )
    const nodes = [leaving, ...(await admin.look()).replicasOf(leaving.id)]
    await removeNodes(admin, nodes)
    const left = new Set(nodes.map(({ reachable }) => reachable.port))
    for (const node of cluster.nodes.filter(({ port }) => left.has(port))) {
      await cluster.forgetNode(node)
    }
    world.did(`${[...left].join(' and ')} are removed`)
  })
}

async function move(world: Trial['world'], admin: Admin, moves: readonly Move[]): Promise<void> {
  await admin.claim(await admin.look())
  const { slotsDone, keysDone, retries, elapsedMs } = await moveSlots(admin, moves, {
    speed: SPEED,
    report: line => {
      world.did(line)
    }
  })
  world.did(
    `${slotsDone} slots with ${keysDone} keys moved in ${Math.round(elapsedMs)} ms${retries === 0 ? '' : `, ${retries} times tried again`}`
  )
}
