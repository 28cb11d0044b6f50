// Faults of the network between hosts, by name, for `npm run drill -- partitions` and the tests.
// Each node has a host of its own; the services are on the hosts of the first master and of the
// last replica. Packets are dropped, not refused.
import { setTimeout as sleep } from 'node:timers/promises'
import { type EmbeddedNode } from '../../src/embedded/node.js'
import { slotOf } from '../../src/redis/slots.js'
import { blockKey, roomSlot, userCountKey } from '../../src/store/keys.js'
import { type Sent } from './ledger.js'
import { includesSlot, type Member } from './operator.js'
import { type Scenario } from './scenarios.js'
import { type Trial } from './trial.js'

/**
 * From the moment most masters suspect a silent replica to the end of the last POST that waited for
 * it. The suspicion itself comes 2 to 3.1 s after the replica fell silent: a node pings another one
 * when it has not heard it for half the node timeout (2 s), and suspects it if the reply takes
 * longer than the timeout.
 */
const OUTAGE_MS_MAX = 700
/**
 * After this time, a shard that is cut off from its replica refuses writes before they are sent.
 */
const REFUSING_AFTER_MS = 4_000
const REFUSED_WITHIN_MS = 1_500
const CUT_MS = 9_000
/**
 * A service that has been cut off from a master for this long refuses at once what needs that
 * master: after 2 s of silence, and after learning that the other masters still hear that master.
 */
const CUT_OFF_AFTER_MS = 6_000

export const PARTITIONS = {
  'cut-master': {
    about: "a master's host is cut off from all others for 9 s: its replica takes over",
    excused: '5xx',
    faults: async trial => {
      const { master } = await shard(trial, 1)
      await cutFor(
        trial,
        CUT_MS,
        `the host of master ${master.process.port}`,
        async hosts => {
          await hosts.isolate(hostOf(trial, master))
        },
        {
          during: async killedMs => {
            const takenOverMs = await trial.world.operator.untilTakenOver(
              master.node.slots[0]?.[0] ?? 0,
              master.process
            )
            trial.world.did(
              `its replica has taken over after ${Math.round(takenOverMs - killedMs)} ms`
            )
            trial.takeovers.push({ slots: master.node.slots, killedMs, takenOverMs })
          }
        }
      )
    }
  },
  minority: {
    about: "a master's host with a service in it is cut off for 9 s, and clients reach both sides",
    excused: '5xx',
    faults: async trial => {
      const { master } = await shard(trial, 0)
      await cutFor(
        trial,
        CUT_MS,
        `the host of master ${master.process.port} and a service`,
        async hosts => {
          await hosts.isolate(hostOf(trial, master))
        }
      )
    }
  },
  'cut-link': {
    about:
      'the link between a service and a master is cut for 9 s: what needs both is refused at once, all else goes on',
    excused: '5xx',
    faults: async trial => {
      const { master } = await shard(trial, 2)
      await cutFor(
        trial,
        CUT_MS,
        `the link from the service on host 0 to master ${master.process.port}`,
        async hosts => {
          await hosts.cut(0, hostOf(trial, master))
        },
        { shard: 2 }
      )
    },
    isLinkCut: true
  },
  'cut-one-way': {
    about: 'a master hears nobody for 9 s, but is heard',
    excused: '5xx',
    faults: async trial => {
      const { master } = await shard(trial, 1)
      const host = hostOf(trial, master)
      await cutFor(trial, CUT_MS, `all links to master ${master.process.port}`, async hosts => {
        for (let other = 0; other < hosts.count; other++) {
          if (other !== host) await hosts.cutOneWay(other, host)
        }
      })
    }
  },
  'cut-replica': {
    about:
      "a replica's host is cut off for 9 s: its master goes on alone as soon as the others suspect it",
    excused: '5xx',
    faults: async trial => {
      const { replica } = await shard(trial, 1)
      await cutFor(
        trial,
        CUT_MS,
        `the host of replica ${replica.process.port}`,
        async hosts => {
          await hosts.isolate(hostOf(trial, replica))
        },
        { suspected: replica.process }
      )
    },
    outageMsMax: OUTAGE_MS_MAX
  },
  'hung-replica': {
    about: 'a replica stands still for 9 s with its connections open',
    excused: '5xx',
    faults: async trial => {
      const { operator } = trial.world
      const { replica } = await shard(trial, 1)
      await cutFor(
        trial,
        CUT_MS,
        `replica ${replica.process.port} by SIGSTOP`,
        async () => {
          await operator.pause(replica.process)
        },
        {
          suspected: replica.process,
          heal: async () => {
            await operator.resume(replica.process)
          }
        }
      )
    },
    outageMsMax: OUTAGE_MS_MAX
  },
  apart: {
    about:
      'only the link between a master and its replica is cut for 9 s: its shard refuses writes at once, the others go on',
    excused: '5xx',
    faults: async trial => {
      const { master, replica } = await shard(trial, 1)
      await cutFor(
        trial,
        CUT_MS,
        `the link between master ${master.process.port} and its replica`,
        async hosts => {
          await hosts.cut(hostOf(trial, master), hostOf(trial, replica))
        }
      )
    },
    isApart: true
  },
  flapping: {
    about: "a master's host is cut off and back again, ten times in 12 s",
    excused: '5xx',
    faults: async trial => {
      const { master } = await shard(trial, 1)
      for (let time = 0; time < 10; time++) {
        await trial.world.hosts.isolate(hostOf(trial, master))
        await sleep(700 * trial.random())
        await trial.world.hosts.heal()
        await sleep(700 * trial.random())
      }
      trial.world.did(`the host of master ${master.process.port} was cut off ten times`)
      await trial.world.operator.untilHealthy()
    }
  },
  'majority-lost': {
    about:
      "two of three masters' hosts are cut off from everybody for 9 s: nothing can be written, and nothing acknowledged is lost",
    excused: '5xx',
    faults: async trial => {
      const [one, other] = [await shard(trial, 1), await shard(trial, 2)]
      await cutFor(
        trial,
        CUT_MS,
        `the hosts of masters ${one.master.process.port} and ${other.master.process.port}`,
        async hosts => {
          await hosts.isolate(hostOf(trial, one.master))
          await hosts.isolate(hostOf(trial, other.master))
        }
      )
    }
  }
} as const satisfies Record<string, Partition>

export type PartitionName = keyof typeof PARTITIONS

export type Partition = Scenario & {
  /**
   * This long after most masters suspect the node, no POST fails or waits any more, although the
   * cut continues.
   */
  readonly outageMsMax?: number
  /** POSTs whose shards are all healthy notice nothing; the others are refused at once. */
  readonly isApart?: boolean
  /** The same, but only POSTs to the first service may be refused. */
  readonly isLinkCut?: boolean
}

/** One block for each user, so that the shards that a POST needs follow from its names. */
export const PARTITION_ENV = {
  BLOCK_LENGTH: '100000',
  SEGMENT_LENGTH: '64',
  // A writer that is cut off puts its text back only when the cut is over, so readers on the other
  // side must wait for longer than that.
  LOST_PATIENCE_MS: '20000'
}
export const HOSTS = 6

/** The faults of a partition, with what it promises beyond the verdict of every drill. */
export function faultsOf(partition: Partition): (trial: Trial) => Promise<void> {
  return async trial => {
    await partition.faults?.(trial)
    const cut = trial.cuts.at(-1)
    if (cut === undefined) return
    const { outageMsMax, isApart = false, isLinkCut = false } = partition
    if (outageMsMax !== undefined) judgeOutage(trial, cut, outageMsMax)
    if (isApart) judgeApart(trial, cut, { refusingAfterMs: REFUSING_AFTER_MS })
    if (isLinkCut) {
      const service = trial.world.urls[0]
      judgeApart(trial, cut, { refusingAfterMs: CUT_OFF_AFTER_MS, service })
    }
  }
}

export type Cut = {
  readonly fromMs: number
  /** When most masters suspected the node that was cut off, if that was watched. */
  readonly noticedMs?: number
  readonly toMs: number
  readonly slots: Member['node']['slots']
}

async function shard(
  { world: { operator } }: Trial,
  index: number
): Promise<{ readonly master: Member; readonly replica: Member }> {
  const master = (await operator.masters())[index]
  const replica = (await operator.replicas()).find(({ node }) => node.masterId === master?.node.id)
  if (master === undefined || replica === undefined) {
    throw new Error(`There is no shard ${index} with a replica`)
  }
  return { master, replica }
}

const hostOf = ({ world }: Trial, { process }: Member): number => world.hosts.indexOf(process.host)

async function cutFor(
  trial: Trial,
  ms: number,
  what: string,
  cut: (hosts: Trial['world']['hosts']) => Promise<void>,
  {
    during,
    suspected,
    heal = async () => {
      await trial.world.hosts.heal()
    },
    shard: index = 1
  }: {
    readonly during?: (fromMs: number) => Promise<void>
    /** The node that the masters are to suspect. */
    readonly suspected?: EmbeddedNode
    readonly heal?: () => Promise<void>
    /** The shard that is cut off. */
    readonly shard?: number
  } = {}
): Promise<void> {
  const { world } = trial
  const { slots } = (await shard(trial, index)).master.node
  await cut(world.hosts)
  const fromMs = performance.now()
  world.did(`cut: ${what}`)
  const noticed = suspected === undefined ? undefined : world.operator.untilSuspected(suspected)
  await Promise.all([sleep(ms), during?.(fromMs), noticed])
  const noticedMs = await noticed
  if (noticedMs !== undefined) {
    world.did(`most masters suspect it after ${Math.round(noticedMs - fromMs)} ms`)
  }
  const toMs = performance.now()
  await heal()
  world.did('healed')
  trial.cuts.push({ fromMs, toMs, slots, ...(noticedMs === undefined ? {} : { noticedMs }) })
  await world.operator.untilHealthy()
}

function judgeOutage(
  trial: Trial,
  { fromMs, toMs, noticedMs = fromMs }: Cut,
  afterNoticedMsMax: number
): void {
  const outageMsMax = Math.round(noticedMs - fromMs) + afterNoticedMsMax
  const late = trial.ledger.all.filter(
    ({ outcome, sentMs, answeredMs }) =>
      outcome?.isAcknowledged === false &&
      sentMs > fromMs + outageMsMax + trial.lag.overlapMs(fromMs, sentMs) &&
      answeredMs < toMs
  )
  if (late.length > 0) {
    trial.findings.push(
      `${late.length} POSTs failed although the outage should have been over after ${outageMsMax} ms: the last was sent after ${Math.round(Math.max(...late.map(({ sentMs }) => sentMs)) - fromMs)} ms`
    )
  }
  const held = trial.ledger.all.filter(
    ({ outcome, sentMs, answeredMs }) =>
      outcome?.isAcknowledged === true &&
      sentMs > fromMs &&
      sentMs < toMs &&
      answeredMs - sentMs > outageMsMax + trial.lag.overlapMs(sentMs, answeredMs)
  )
  if (held.length > 0) {
    trial.findings.push(
      `${held.length} POSTs were held up for longer than ${outageMsMax} ms: ${Math.round(Math.max(...held.map(({ sentMs, answeredMs }) => answeredMs - sentMs)))} ms`
    )
  }
  trial.world.did(
    `slowest POST during the cut: ${Math.round(Math.max(0, ...trial.ledger.all.filter(({ sentMs }) => sentMs > fromMs && sentMs < toMs).map(({ sentMs, answeredMs }) => answeredMs - sentMs)))} ms`
  )
}

/** @param service the only one whose POSTs notice the cut; undefined: all do */
function judgeApart(
  trial: Trial,
  { fromMs, toMs, slots }: Cut,
  {
    refusingAfterMs,
    service
  }: { readonly refusingAfterMs: number; readonly service?: string | undefined }
): void {
  const isCut = (slot: number): boolean => includesSlot(slots, slot)
  const needs = ({ room, user }: Sent): number[] => [
    roomSlot(room),
    slotOf(userCountKey(user)),
    slotOf(blockKey(room, `${user}.0`))
  ]
  const during = trial.ledger.all.filter(
    ({ sentMs, answeredMs }) => sentMs > fromMs && answeredMs < toMs
  )
  const isTouched = (sent: Sent): boolean =>
    (service === undefined || sent.service === service) && needs(sent).some(isCut)
  const [healthy, touched] = [during.filter(sent => !isTouched(sent)), during.filter(isTouched)]
  const slowest = (sents: readonly Sent[]): number =>
    Math.round(
      Math.max(
        0,
        ...sents.map(
          ({ sentMs, answeredMs }) => answeredMs - sentMs - trial.lag.overlapMs(sentMs, answeredMs)
        )
      )
    )
  const failed = healthy.filter(({ outcome }) => outcome?.isAcknowledged === false)
  if (failed.length > 0) {
    trial.findings.push(
      `${failed.length} of ${healthy.length} POSTs failed whose shards were healthy`
    )
  }
  const refused = touched.filter(({ sentMs }) => sentMs > fromMs + refusingAfterMs)
  if (refused.length === 0 || healthy.length === 0) {
    trial.findings.push(
      `There was nothing to judge: ${refused.length} POSTs to the shard, ${healthy.length} to others`
    )
  }
  if (slowest(refused) > REFUSED_WITHIN_MS) {
    trial.findings.push(
      `A POST to the shard was held up for ${slowest(refused)} ms instead of being refused at once`
    )
  }
  trial.world.did(
    `${healthy.length} POSTs to healthy shards, slowest ${slowest(healthy)} ms; ${refused.length} to the shard after ${refusingAfterMs} ms, ${refused.filter(({ outcome }) => outcome?.isAcknowledged === true).length} of them acknowledged, slowest ${slowest(refused)} ms`
  )
}
