// What a seed means: a cluster, settings that bring the service's limits within reach, what clients
// do, and which faults come when. Swarm testing (Groce and others, 2012): each seed leaves out some
// kinds of faults and has many of others, because a schedule with a little of everything reaches
// few corners. A plan is data: shrinking takes actions out of it and runs the rest.
import { type Random } from './random.js'
import { type ServerKind } from './commands.js'
import { FAULTS, type Fault, move } from './faults.js'

export type Post = {
  readonly kind: 'post'
  readonly instance: number
  readonly room: string
  readonly user: string
  readonly text: string
  readonly once: string | undefined
}
export type Read = {
  readonly kind: 'read'
  readonly instance: number
  readonly rooms: readonly string[]
  readonly last: number | undefined
  readonly bytesPerMs: number
}
export type Page = {
  readonly kind: 'page'
  readonly instance: number
  readonly room: string
  readonly limit: number
}
/** Changes a message, or deletes it if there is no text. */
export type ChangeRequest = {
  readonly kind: 'change'
  readonly instance: number
  readonly room: string
  /** Which of the acknowledged messages. Early in a run there may be none yet. */
  readonly which: number
  readonly text: string | undefined
  readonly once: string | undefined
}
/** Deletes a room with everything in it. */
export type RoomDeletion = {
  readonly kind: 'delete room'
  readonly instance: number
  readonly room: string
  /** Until it is answered for good. */
  readonly isRepeated: boolean
}
export type SignalRequest = {
  readonly kind: 'signal'
  readonly instance: number
  readonly room: string
  readonly user: string
  readonly data: string
}
/** A person's stream of what changes in their dialogs. */
export type Follow = {
  readonly kind: 'follow'
  readonly instance: number
  readonly user: string
  readonly bytesPerMs: number
}
/** Something that a person does with their dialogs. */
export type DialogAction = { readonly instance: number; readonly user: string } & (
  | { readonly kind: 'mark'; readonly room: string; readonly seq: number }
  | { readonly kind: 'join' | 'leave'; readonly room: string }
  | { readonly kind: 'list' }
)
export type Action = { readonly at: number } & (
  Post | Read | Page | ChangeRequest | RoomDeletion | SignalRequest | Follow | DialogAction | Fault
)

export type ServiceSettings = {
  readonly blockLength: number
  readonly segmentLength: number
  readonly groupLengthMax: number
  readonly queueLengthMax: number
  readonly storeDeadlineMs: number
  readonly lostPatienceMs: number
  readonly commandTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly writeConnections: number
  readonly ringLengthMax: number
  readonly ringBytesMax: number
  readonly earlyLengthMax: number
  readonly gapWaitMs: number
  readonly pageLength: number
  readonly roomLingerMs: number
  readonly auditMs: number
  readonly recheckMs: number
  readonly vanishedMs: number
  readonly heartbeatMs: number
  readonly socketBytesMax: number
  readonly stalledMsMax: number
  readonly signalsPerSecondMax: number
  readonly checksRequirements: boolean
}

export type Plan = {
  readonly seed: string
  readonly kind: ServerKind
  readonly replicas: number
  readonly nodeTimeoutMs: number
  /** cluster-replica-validity-factor; 0: a replica takes over however old its data is. */
  readonly validityFactor: number
  readonly instances: number
  readonly service: ServiceSettings
  readonly network: { readonly latencyMsMax: number; readonly piecesChance: number }
  readonly faults: {
    readonly lagChance: number
    readonly lagMsMax: number
    readonly slowSync: boolean
  }
  readonly rooms: readonly string[]
  readonly users: readonly string[]
  readonly actions: readonly Action[]
  /** Slots are moved, and nothing else happens: then no write is refused, and few are slow. */
  readonly isGentle?: boolean
  /** From this time on there are no faults. */
  readonly calmAt: number
  /**
   * How long nothing happens at the end. What still comes then, such as an audit or a heartbeat,
   * must change nothing.
   */
  readonly quietMs: number
  /** For how long rooms keep their messages, and what is written while days pass; or for ever. */
  readonly retention?: { readonly days: number; readonly posts: readonly Post[] } | undefined
}

/** In how many seeds messages expire. */
const RETENTION_CHANCE = 0.2
/** From this seed on they expire in every seed. */
const RETENTION_SEED_MIN = 1_000_000

/** In how many seeds slots are moved and nothing else happens. */
const GENTLE_CHANCE = 0.1
/** A slot that is half-moved for long holds up commands with several keys. */
const GENTLE_PAUSE_MS_MAX = 20

const STORM_MS = [500, 8_000] as const

export function planOf(seed: string | number, random: Random): Plan {
  const rooms = ['lobby', 'kitchen', 'attic'].slice(0, random.whole(1, 3))
  const users = ['ann', 'bob', 'cy', 'dee'].slice(0, random.whole(1, 4))
  const instances = random.whole(2, 3)
  const calmAt = random.magnitude(...STORM_MS)
  const replicas = random.chance(0.15) ? 2 : 1
  const isGentle = random.fork('gentle').chance(GENTLE_CHANCE)
  const setting: Setting = { instances, rooms, users, calmAt, nodes: 3 * (1 + replicas) }
  return {
    seed: String(seed),
    kind: random.chance(0.5) ? '7.0' : '8',
    replicas,
    nodeTimeoutMs: random.pick([500, 1000, 2000]),
    validityFactor: random.pick([10, 10, 10, 0]),
    instances,
    service: settings(random),
    network: { latencyMsMax: random.magnitude(0.1, 5), piecesChance: random.pick([0, 0.05, 0.5]) },
    faults: {
      lagChance: random.pick([0, 0.05, 0.5]) * (isGentle ? 0 : 1),
      lagMsMax: random.magnitude(2, 300),
      slowSync: random.chance(0.3)
    },
    rooms,
    users,
    actions: [
      ...posts(random, setting),
      ...reads(random, setting),
      ...dialogActions(random, setting),
      ...changes(random, setting),
      ...signals(random, setting),
      ...follows(random, setting),
      ...(isGentle ? moves(random.fork('moves'), setting) : faults(random, setting)),
      ...roomDeletions(random, setting)
    ].sort((a, b) => a.at - b.at),
    isGentle,
    calmAt,
    quietMs: random.chance(0.2) ? 6000 : 300,
    retention: retention(random.fork('retention'), setting, Number(seed) >= RETENTION_SEED_MIN)
  }
}

export type Setting = {
  readonly instances: number
  readonly rooms: readonly string[]
  readonly users: readonly string[]
  readonly calmAt: number
  readonly nodes: number
}

function settings(random: Random): ServiceSettings {
  return {
    blockLength: random.pick([1, 3, 10, 1000]),
    segmentLength: random.pick([2, 4, 16, 1024]),
    groupLengthMax: random.pick([1, 2, 256]),
    queueLengthMax: random.pick([3, 10000, 10000, 10000]),
    storeDeadlineMs: random.pick([3000, 6000, 10_000]),
    lostPatienceMs: random.pick([0, 300, 3000]),
    commandTimeoutMs: random.pick([700, 2000]),
    connectTimeoutMs: random.pick([300, 1000]),
    writeConnections: random.pick([1, 1, 2]),
    ringLengthMax: random.pick([1, 4, 2048]),
    ringBytesMax: random.pick([200, 1_000_000]),
    earlyLengthMax: random.pick([1, 3, 4096]),
    gapWaitMs: random.pick([1, 10]),
    pageLength: 128,
    roomLingerMs: random.pick([100, 10_000]),
    auditMs: random.pick([1000, 600_000, 600_000]),
    recheckMs: random.pick([300, 5000]),
    vanishedMs: random.pick([2000, 10_000]),
    heartbeatMs: random.pick([500, 3000]),
    socketBytesMax: random.pick([1, 300, 65536]),
    stalledMsMax: random.pick([1500, 60_000]),
    checksRequirements: random.chance(0.02),
    signalsPerSecondMax: random.pick([1, 3, 1000])
  }
}

function retention(
  random: Random,
  { instances, rooms, users }: Setting,
  isCertain: boolean
): Plan['retention'] {
  if (!isCertain && !random.fork('chance').chance(RETENTION_CHANCE)) return undefined
  const posts = Array.from({ length: random.whole(3, 15) }, (_, index) => ({
    kind: 'post' as const,
    instance: random.below(instances),
    room: random.pick(rooms),
    user: random.pick(users),
    text: `late ${index}`,
    once: `late-key-${index}`
  }))
  return { days: random.pick([1, 2]), posts }
}

function posts(random: Random, { instances, rooms, users, calmAt }: Setting): Action[] {
  const count = Math.round(random.magnitude(4, 60))
  const onceShare = random.pick([0, 0.5, 1])
  // In bursts: messages that arrive together are committed together.
  const bursts = Array.from({ length: random.whole(1, 8) }, () => random.between(0, calmAt))
  return Array.from(
    { length: count },
    (_, index) =>
      ({
        at: random.chance(0.5)
          ? random.pick(bursts) + random.between(0, 20)
          : random.between(0, calmAt),
        kind: 'post',
        instance: random.below(instances),
        room: random.pick(rooms),
        user: random.pick(users),
        text: `text ${index}${random.chance(0.05) ? '·'.repeat(400) : ''}`,
        once: random.chance(onceShare) ? `key-${index}` : undefined
      }) as const
  )
}

function reads(random: Random, { instances, rooms, calmAt }: Setting): Action[] {
  const readers = Array.from(
    { length: random.whole(1, 4) },
    () =>
      ({
        at: random.between(0, calmAt * 0.8),
        kind: 'read',
        instance: random.below(instances),
        rooms: random.chance(0.3) ? rooms : [random.pick(rooms)],
        last: random.pick([undefined, undefined, 0, 2]),
        bytesPerMs: random.chance(0.25) ? random.magnitude(0.5, 20) : Infinity
      }) as const
  )
  const pages = Array.from(
    { length: random.whole(0, 5) },
    () =>
      ({
        at: random.between(0, calmAt),
        kind: 'page',
        instance: random.below(instances),
        room: random.pick(rooms),
        limit: random.whole(1, 20)
      }) as const
  )
  return [...readers, ...pages]
}

function dialogActions(random: Random, { instances, rooms, users, calmAt }: Setting): Action[] {
  if (random.chance(0.5)) return []
  return Array.from({ length: random.whole(1, 12) }, () => {
    const common = {
      at: random.between(0, calmAt),
      instance: random.below(instances),
      user: random.pick(users)
    }
    const kind = random.pick(['mark', 'mark', 'mark', 'join', 'leave', 'list'] as const)
    if (kind === 'list') return { ...common, kind }
    const room = random.pick(rooms)
    return kind === 'mark'
      ? { ...common, kind, room, seq: random.whole(1, 20) }
      : { ...common, kind, room }
  })
}

// Several changes of one message at once are the hard case.
function changes(random: Random, { instances, rooms, calmAt }: Setting): Action[] {
  if (random.chance(0.4)) return []
  const count = Math.round(random.magnitude(1, 16))
  const onceShare = random.pick([0, 0.5, 1])
  const deletions = random.pick([0.1, 0.5, 1])
  const spread = random.pick([1, 3, 100])
  const bursts = Array.from({ length: random.whole(1, 3) }, () => random.between(0, calmAt))
  return Array.from({ length: count }, (_, index) => ({
    at: random.chance(0.6)
      ? random.pick(bursts) + random.between(0, 20)
      : random.between(0, calmAt),
    kind: 'change' as const,
    instance: random.below(instances),
    room: random.pick(rooms),
    which: random.below(spread),
    text: random.chance(deletions) ? undefined : `change ${index}`,
    once: random.chance(onceShare) ? `change-${index}` : undefined
  }))
}

function roomDeletions(random: Random, { instances, rooms, calmAt }: Setting): Action[] {
  if (random.chance(0.6)) return []
  const count = random.pick([1, 1, 2, 4])
  const first = random.between(0, calmAt)
  return Array.from({ length: count }, () => ({
    at: random.chance(0.5) ? random.between(0, calmAt) : first + random.between(0, 20),
    kind: 'delete room' as const,
    instance: random.below(instances),
    room: random.pick(rooms),
    isRepeated: random.chance(0.6)
  }))
}

function signals(random: Random, { instances, rooms, users, calmAt }: Setting): Action[] {
  if (random.chance(0.7)) return []
  return Array.from({ length: random.whole(1, 10) }, (_, index) => ({
    at: random.between(0, calmAt),
    kind: 'signal' as const,
    instance: random.below(instances),
    room: random.pick(rooms),
    user: random.pick(users),
    data: `signal ${index}`
  }))
}

function follows(random: Random, { instances, users, calmAt }: Setting): Action[] {
  if (random.chance(0.5)) return []
  return Array.from({ length: random.whole(1, 2) }, () => ({
    at: random.between(0, calmAt * 0.8),
    kind: 'follow' as const,
    instance: random.below(instances),
    user: random.pick(users),
    bytesPerMs: random.chance(0.25) ? random.magnitude(0.5, 20) : Infinity
  }))
}

function moves(random: Random, setting: Setting): Action[] {
  return Array.from({ length: random.whole(2, 12) }, () => ({
    at: random.between(0, setting.calmAt),
    ...move(random, setting),
    pauseMs: random.magnitude(0.5, GENTLE_PAUSE_MS_MAX),
    diesAfter: undefined
  }))
}

function faults(random: Random, setting: Setting): Action[] {
  const actions: Action[] = []
  for (const make of FAULTS) {
    if (random.chance(0.6)) continue
    const count = random.chance(0.2) ? random.whole(3, 8) : random.whole(1, 2)
    for (let i = 0; i < count; i++) {
      actions.push({ at: random.between(0, setting.calmAt), ...make(random, setting) })
    }
  }
  return random.chance(0.05) ? [] : actions
}
