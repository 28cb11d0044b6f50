// A node dies at each step of a move, its replica takes over, and it comes back while the same
// command goes on, or the next one. In the end all nodes agree, no mark is left, and nothing is
// lost.
import t, { type Test } from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { type AtomicWay, atomicWay } from '../../src/cli/cluster/atomic.js'
import { findUnfinished } from '../../src/cli/cluster/half-moved.js'
import { type MapNode } from '../../src/cli/cluster/map.js'
import { follow } from '../../src/cli/cluster/membership.js'
import { moveSlots } from '../../src/cli/cluster/mover.js'
import { Refusal } from '../../src/cli/cluster/refusal.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { type EmbeddedNode } from '../../src/embedded/node.js'
import { slotOf } from '../../src/redis/slots.js'
import { Operator } from '../drills/operator.js'
import { runCluster } from '../support/cluster-command.js'
import { startCluster } from '../support/embedded.js'
import { SteadyWriter } from '../support/steady-writer.js'
import { connectTo } from '../support/store.js'
import { until } from '../support/until.js'

const SLOTS = 20

const cluster = await startCluster(t, { nodeTimeoutMs: 1000 })
const operator = new Operator(cluster)
const client = await connectTo(t, cluster.urls, redisTarget(cluster.urls))
const writer = await new SteadyWriter(t, client, 600).fill()
const filled = new Set(writer.keys.map(slotOf))

type Part = 'source' | 'target'
type Holder = {
  readonly node: MapNode
  readonly filled: readonly number[]
  readonly lastSlot: number
}
/** The node dies as soon as this part has answered this command. */
type Step = { readonly name: string; readonly part: Part; readonly command: string }

const steps: readonly Step[] = [
  { name: 'the target has marked the slots', part: 'target', command: 'IMPORTING' },
  { name: 'the source has marked the slots', part: 'source', command: 'MIGRATING' },
  { name: 'some keys have moved', part: 'source', command: 'MIGRATE' },
  { name: 'the target has taken the slots', part: 'target', command: 'NODE' },
  { name: 'the source has given up the slots', part: 'source', command: 'NODE' }
]

class Move {
  readonly source: MapNode
  readonly slots: readonly number[]
  readonly dying: Readonly<Record<Part, EmbeddedNode>>
  readonly #admin: Admin
  readonly #target: MapNode
  readonly #lastSlots: Readonly<Record<Part, number>>

  private constructor(admin: Admin, [source, target]: readonly Holder[]) {
    if (source === undefined || target === undefined) throw new Error('Two masters are needed')
    this.#admin = admin
    this.source = source.node
    this.#target = target.node
    this.slots = source.filled.slice(0, SLOTS)
    this.dying = { source: processOf(source.node), target: processOf(target.node) }
    this.#lastSlots = { source: source.lastSlot, target: target.lastSlot }
  }

  /** From the master with the most filled slots. */
  static async prepare(t: Test): Promise<Move> {
    const admin = await connect(t)
    const map = await admin.look()
    const holders = map.masters.map(node => {
      const slots = map.slotsOf(node.id)
      return {
        node,
        filled: slots.filter(slot => filled.has(slot)),
        lastSlot: slots.at(-1) ?? 0
      }
    })
    return new Move(
      admin,
      holders.sort((a, b) => b.filled.length - a.filled.length)
    )
  }

  async run({ isByKeys }: { readonly isByKeys: boolean }): Promise<unknown> {
    return await moveSlots(
      this.#admin,
      this.slots.map(slot => ({ slot, from: this.source.id, to: this.#target.id })),
      { isByKeys }
    )
  }

  /** Waits until every other node knows that its replica has taken over. */
  async isReplaced(victim: Part): Promise<void> {
    await operator.untilTakenOver(this.#lastSlots[victim], this.dying[victim])
  }

  /** Calls `work` once, when this step has been taken. What it throws ends the move. */
  onAnswer({ part, command }: Step, work: () => Promise<void>): void {
    const admin = this.#admin
    const { port } = (part === 'source' ? this.source : this.#target).reachable
    let isDone = false
    const answered = async (from: number, words: readonly string[] = []): Promise<void> => {
      if (isDone || from !== port || !words.includes(command)) return
      isDone = true
      await work()
    }
    const ask = admin.ask.bind(admin)
    admin.ask = async (node, ...words) => {
      const answer = await ask(node, ...words)
      await answered(node.reachable.port, words)
      return answer
    }
    const askAll = admin.askAll.bind(admin)
    admin.askAll = async (node, commands) => {
      const answers = await askAll(node, commands)
      await answered(node.reachable.port, commands[0])
      return answers
    }
  }
}

const way = await atomicWayOf(t)
/** Valkey moves slots by itself at the word of the source, Redis at that of the target. */
const atomicSteps: readonly Step[] =
  way === undefined
    ? []
    : [
        way === 'valkey'
          ? { name: 'the servers begin to move the slots', part: 'source', command: 'MIGRATESLOTS' }
          : { name: 'the servers begin to move the slots', part: 'target', command: 'IMPORT' },
        way === 'valkey'
          ? { name: 'the servers move the slots', part: 'source', command: 'GETSLOTMIGRATIONS' }
          : { name: 'the servers move the slots', part: 'target', command: 'STATUS' }
      ]

for (const step of [...steps, ...atomicSteps]) {
  for (const victim of ['source', 'target'] as const) {
    const name = `the ${victim} dies when ${step.name}`
    const skip =
      way === 'valkey' &&
      victim === 'target' &&
      step === steps[3] &&
      'Valkey 9 may lose the slot (mover.ts)'
    t.test(`${name}, and the move continues`, { skip }, async t => {
      const move = await Move.prepare(t)
      const { dying, slots } = move
      let dead: Promise<void> | undefined
      move.onAnswer(step, async () => {
        dead ??= dying[victim].kill('SIGKILL').then(async () => {
          await move.isReplaced(victim)
          await dying[victim].start()
        })
      })
      t.match(await move.run({ isByKeys: !atomicSteps.includes(step) }), {
        isComplete: true,
        slotsDone: slots.length
      })
      t.ok(dead, 'it died')
      await dead
      await operator.untilHealthy(0)
      await isWhole(t)
      await rejoin(t)
      await operator.untilHealthy()
    })
  }
}

for (const isBack of [true, false]) {
  t.test(
    `the command dies together with the source, which ${isBack ? 'comes back' : 'is gone for good'}: another command finishes the move`,
    async t => {
      const move = await Move.prepare(t)
      const { dying } = move
      move.onAnswer(steps[2]!, async () => {
        await dying.source.kill('SIGKILL')
        throw new Refusal('The command has died.')
      })
      await t.rejects(move.run({ isByKeys: true }), { message: /The command has died/ })
      await move.isReplaced('source')
      if (isBack) {
        await dying.source.start()
        const admin = await connect(t)
        await until('it is a replica', async () => {
          const node = (await admin.look()).nodes.get(move.source.id)
          return node?.state === 'up' && node.role === 'replica'
        })
      }
      t.match(await runCluster(t, { REDIS_NODES: cluster.urls.join(',') }, 'finish', '--yes'), {
        status: 0,
        output: /Finished [1-9]\d* half-moved slots/
      })
      await isWhole(t)
      if (!isBack) await dying.source.start()
      await operator.untilHealthy()
    }
  )
}

function processOf({ reachable }: MapNode): EmbeddedNode {
  const process = cluster.nodes.find(({ port }) => port === reachable.port)
  if (process === undefined) throw new Error(`No process listens at port ${reachable.port}`)
  return process
}

// A target that has just taken slots and dies may come back as a master of these slots alone, while
// its replica has the rest. It can become a replica once its slots have moved there.
async function rejoin(t: Test): Promise<void> {
  const admin = await connect(t)
  const map = await admin.look()
  const [mate, lone] = map.masters
    .filter(({ id }) => map.slotsOf(id).length > 0 && map.replicasOf(id).length === 0)
    .sort((a, b) => map.slotsOf(b.id).length - map.slotsOf(a.id).length)
  if (mate === undefined || lone === undefined) return
  t.comment('the shard is split, and joined again')
  const slots = map.slotsOf(lone.id)
  await moveSlots(
    admin,
    slots.map(slot => ({ slot, from: lone.id, to: mate.id }))
  )
  await follow(admin, lone, mate)
}

async function atomicWayOf(t: Test): Promise<AtomicWay | undefined> {
  const admin = await connect(t)
  const [source, target] = (await admin.look()).masters
  return source === undefined || target === undefined
    ? undefined
    : await atomicWay(admin, source, target)
}

async function isWhole(t: Test): Promise<void> {
  const admin = await connect(t)
  const map = await admin.look()
  t.same(map.faults, [])
  t.match(await findUnfinished(admin, map), { moves: [], staleMarks: [] })
  t.same(await writer.faults(), [])
}

async function connect(t: Test): Promise<Admin> {
  const admin = await Admin.connect(redisTarget(cluster.urls))
  t.teardown(() => {
    admin.close()
  })
  return admin
}
