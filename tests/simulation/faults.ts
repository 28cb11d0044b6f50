// The kinds of faults: each is drawn from the seed as data, and each changes the world in its own
// way. The data includes how long a fault lasts. At the end of a run's storm all faults are undone
// at once (World.calm).
import { type Mood, type SimulatedNode } from './node.js'
import { type Random } from './random.js'
import { type Setting } from './plan.js'
import { type World } from './world.js'

export type Fault =
  | { readonly kind: 'break'; readonly which: number; readonly when: 'now' | 'command' | 'reply' }
  | { readonly kind: 'deafen'; readonly which: number }
  | { readonly kind: 'stall'; readonly which: number; readonly ms: number }
  | {
      readonly kind: 'crash node'
      readonly node: number
      readonly ms: number
      readonly loadingMs: number
    }
  | { readonly kind: 'vanish'; readonly node: number; readonly ms: number }
  /**
   * A master goes on alone. It dies when its replica can take over without what the master wrote
   * alone.
   */
  | {
      readonly kind: 'outlive'
      readonly node: number
      readonly aloneMs: number
      readonly ms: number
    }
  | { readonly kind: 'pause node'; readonly node: number; readonly ms: number }
  | { readonly kind: 'pause instance'; readonly instance: number; readonly ms: number }
  | {
      readonly kind: 'kill instance'
      readonly instance: number
      readonly ms: number
      /** It dies between the acknowledgement of the next message and its publication. */
      readonly isPublishing?: boolean
    }
  | { readonly kind: 'stop instance'; readonly instance: number }
  | {
      readonly kind: 'partition'
      readonly nodes: readonly number[]
      readonly instances: readonly number[]
      readonly isOneWay: boolean
      readonly ms: number
    }
  | { readonly kind: 'mood'; readonly node: number; readonly mood: Mood; readonly ms: number }
  | { readonly kind: 'clock'; readonly node: number; readonly byMs: number }
  | { readonly kind: 'clock of instance'; readonly instance: number; readonly byMs: number }
  | {
      readonly kind: 'move slot'
      readonly of: 'room' | 'block'
      readonly room: string
      readonly user: string
      readonly to: number
      readonly pauseMs: number
      readonly diesAfter: number | undefined
    }
  | { readonly kind: 'fail over'; readonly node: number }
  | { readonly kind: 'break replication'; readonly node: number }
  | { readonly kind: 'cut reader'; readonly which: number; readonly isSilent: boolean }

export type Move = Extract<Fault, { readonly kind: 'move slot' }>

type Make = (random: Random, setting: Setting) => Fault

const ANY = 1_000_000
const LOADING_MS = 100

export const FAULTS: readonly Make[] = [
  random => ({
    kind: 'break',
    which: random.below(ANY),
    when: random.pick(['now', 'command', 'reply'])
  }),
  random => ({ kind: 'break', which: random.below(ANY), when: random.pick(['command', 'reply']) }),
  random => ({ kind: 'deafen', which: random.below(ANY) }),
  random => ({ kind: 'stall', which: random.below(ANY), ms: random.magnitude(5, 5000) }),
  (random, { nodes }) => ({
    kind: 'crash node',
    node: random.below(nodes),
    ms: random.magnitude(100, 10_000),
    loadingMs: random.magnitude(10, 1000)
  }),
  (random, { nodes }) => ({
    kind: 'vanish',
    node: random.below(nodes),
    ms: random.magnitude(100, 10_000)
  }),
  (random, { nodes }) => ({
    kind: 'pause node',
    node: random.below(nodes),
    ms: random.magnitude(50, 8000)
  }),
  (random, { instances }) => ({
    kind: 'pause instance',
    instance: random.below(instances),
    ms: random.magnitude(20, 8000)
  }),
  (random, { instances }) => ({
    kind: 'kill instance',
    instance: random.below(instances),
    ms: random.magnitude(20, 3000),
    isPublishing: random.fork('kill').chance(0.5)
  }),
  (random, { instances }) => ({ kind: 'stop instance', instance: random.below(instances) }),
  (random, { nodes, instances }) => ({
    kind: 'partition',
    nodes: some(random, nodes),
    instances: some(random, instances),
    isOneWay: random.chance(0.2),
    ms: random.magnitude(50, 8000)
  }),
  (random, { nodes }) => ({
    kind: 'mood',
    node: random.below(nodes),
    mood: random.pick(['busy', 'full', 'misconfigured', 'no-replicas', 'crowded', 'loading']),
    ms: random.magnitude(5, 3000)
  }),
  (random, { nodes }) => ({
    kind: 'clock',
    node: random.below(nodes),
    byMs: Math.round(random.pick([-1, 1]) * random.magnitude(1, 100_000))
  }),
  (random, { instances }) => ({
    kind: 'clock of instance',
    instance: random.below(instances),
    byMs: Math.round(random.pick([-1, 1]) * random.magnitude(1, 100_000))
  }),
  move,
  move,
  (random, { nodes }) => ({ kind: 'fail over', node: random.below(nodes) }),
  (random, { nodes }) => ({ kind: 'break replication', node: random.below(nodes) }),
  random => ({ kind: 'cut reader', which: random.below(ANY), isSilent: random.chance(0.4) }),
  (random, { nodes }) => ({
    kind: 'outlive',
    node: random.below(nodes),
    aloneMs: random.magnitude(10, 2000),
    ms: random.magnitude(500, 6000)
  })
]

/** Moves the slot of a room or of a block to a node. */
export function move(random: Random, { rooms, users, nodes }: Setting): Move {
  return {
    kind: 'move slot',
    of: random.pick(['room', 'room', 'block']),
    room: random.pick(rooms),
    user: random.pick(users),
    to: random.below(nodes),
    pauseMs: random.magnitude(0.5, 800),
    diesAfter: random.chance(0.3) ? random.whole(0, 4) : undefined
  }
}

const some = (random: Random, count: number): number[] =>
  Array.from({ length: count }, (_, index) => index).filter(() => random.chance(0.4))

export function inject(world: World, fault: Fault): void {
  const { time, network } = world
  const later = (ms: number, run: () => void): void => {
    time.after(ms, run, world.owner)
  }
  world.trace.note(`fault: ${JSON.stringify(fault)}`)
  switch (fault.kind) {
    case 'break':
    case 'deafen':
    case 'stall': {
      const connections = [...network.connections]
      const connection = connections[fault.which % connections.length]
      if (connection === undefined) return
      if (fault.kind === 'deafen') connection.isDeaf = true
      else if (fault.kind === 'stall') connection.stall(fault.ms)
      else if (fault.when === 'now') connection.break()
      else connection.breaksAt = fault.when
      return
    }
    case 'crash node': {
      const node = world.nodeAt(fault.node)
      if (!node.isRunning) return
      world.crash(node)
      return later(fault.ms, () => {
        world.restart(node, fault.loadingMs)
      })
    }
    case 'vanish': {
      const join = isolate(world, world.nodeAt(fault.node))
      return later(fault.ms, join)
    }
    case 'outlive': {
      const named = world.nodeAt(fault.node)
      const master = named.upstream?.master ?? named
      const replicas = [...master.links].map(({ replica }) => replica)
      if (replicas.length === 0 || !master.isRunning) return
      const joins = replicas.map(replica => isolate(world, replica))
      return later(2 * world.plan.nodeTimeoutMs + fault.aloneMs, () => {
        for (const join of joins) join()
        if (world.isCalm || !master.isRunning) return
        world.crash(master)
        later(fault.ms, () => {
          world.restart(master, LOADING_MS)
        })
      })
    }
    case 'pause node':
      return world.pause(world.nodeAt(fault.node).owner, fault.ms)
    case 'pause instance':
      return world.pause(
        world.instances[fault.instance % world.instances.length]?.owner ?? world.owner,
        fault.ms
      )
    case 'kill instance': {
      const owner = world.instances[fault.instance % world.instances.length]?.owner
      const kill = (): void => {
        if (!world.isCalm) world.killInstance(fault.instance, fault.ms)
      }
      if (fault.isPublishing !== true || owner === undefined) return kill()
      owner.beforePublishing = kill
      return
    }
    case 'stop instance':
      return world.stopInstance(fault.instance)
    case 'partition': {
      const inside = [
        ...fault.nodes.map(index => world.nodeAt(index).owner),
        ...fault.instances.map(index => world.instances[index]?.owner ?? world.owner)
      ]
      const outside = world.owners.filter(owner => !inside.includes(owner))
      for (const a of inside) {
        for (const b of outside) {
          network.cut(a, b)
          if (!fault.isOneWay) network.cut(b, a)
        }
      }
      return later(fault.ms, () => {
        for (const a of inside) for (const b of outside) network.join(a, b)
      })
    }
    case 'mood': {
      const node = world.nodeAt(fault.node)
      if (node.mood !== undefined) return
      node.mood = fault.mood
      world.moods.add(fault.mood)
      return later(fault.ms, () => {
        node.mood = undefined
      })
    }
    case 'clock':
      world.nodeAt(fault.node).owner.clockMs += fault.byMs
      return
    case 'clock of instance': {
      const instance = world.instances[fault.instance % world.instances.length]
      if (instance !== undefined) instance.owner.clockMs += fault.byMs
      return
    }
    case 'move slot':
      return world.movers.begin(fault)
    case 'fail over':
      return world.bus.failOver(world.nodeAt(fault.node))
    case 'break replication':
      return world.nodeAt(fault.node).upstream?.break()
    case 'cut reader':
      return world.sources[fault.which % world.sources.length]?.cut(fault.isSilent)
  }
}

/** Cuts a node off from everybody. @returns a function that reconnects it */
function isolate({ network, owners }: World, node: SimulatedNode): () => void {
  const others = owners.filter(owner => owner !== node.owner)
  for (const other of others) {
    network.cut(node.owner, other)
    network.cut(other, node.owner)
  }
  return () => {
    for (const other of others) network.join(node.owner, other)
  }
}
