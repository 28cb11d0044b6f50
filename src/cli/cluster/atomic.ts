// Slots moved by the servers themselves, atomically: Valkey 9 and Redis 8.4 and later. The source
// streams the keys of the slots to the target and goes on serving them; in the end it pauses its
// writes for a moment, and all the slots change their owner in one step. Nothing is ever
// half-moved: a job that fails leaves every slot where it was. If a target with Redis dies in the
// moment of the step, its replica may not have heard of it; then the old master comes back as a
// master of these slots, without a replica. Valkey is told at the source
// (https://valkey.io/commands/cluster-migrateslots), Redis at the target
// (https://redis.io/docs/latest/commands/cluster-migration).
import { setTimeout as sleep } from 'node:timers/promises'
import { type Reply } from '../../redis/connection.js'
import { type Admin } from './admin.js'
import { type MapNode, nodeText } from './map.js'
import { rangesOf } from './slots.js'

export type AtomicWay = 'valkey' | 'redis'

const POLL_MS = 50

/** How two nodes move slots atomically; undefined when one of them cannot. */
export async function atomicWay(
  admin: Admin,
  source: MapNode,
  target: MapNode
): Promise<AtomicWay | undefined> {
  const [atSource, atTarget] = await Promise.all([source, target].map(node => wayOf(admin, node)))
  return atSource === atTarget ? atSource : undefined
}

/**
 * Moves slots as one job, and resolves when they have their new owner.
 * @throws an error that says why the job failed; then the slots are where they were, or have just
 * been moved: look at the cluster
 */
export async function moveAtomically(
  admin: Admin,
  way: AtomicWay,
  slots: readonly number[],
  source: MapNode,
  target: MapNode
): Promise<void> {
  const ranges = rangesOf([...slots].sort((a, b) => a - b))
  const job =
    way === 'valkey'
      ? await startAtSource(admin, ranges, source, target)
      : await startAtTarget(admin, ranges, source, target)
  try {
    for (;;) {
      const fields = await job.status()
      const state = fields.get('state') ?? 'unknown'
      if (state === 'success' || state === 'completed') return
      if (/^(failed|cancell?ed|unknown)$/.test(state)) {
        throw new Error(
          `the move from ${nodeText(source)} to ${nodeText(target)} has ended as ${state}: ${fields.get('message') ?? fields.get('last_error') ?? ''}`
        )
      }
      await sleep(POLL_MS)
    }
  } catch (error) {
    await job.cancel?.()
    throw error
  }
}

type Job = {
  /** Empty if the server does not know the job. */
  readonly status: () => Promise<ReadonlyMap<string, string>>
  /** Ends what is left of it at nodes that answer. Without it, both servers do so by themselves. */
  readonly cancel?: () => Promise<void>
}

async function startAtSource(
  admin: Admin,
  ranges: ReturnType<typeof rangesOf>,
  source: MapNode,
  target: MapNode
): Promise<Job> {
  const known = new Set((await jobsAt(admin, source)).map(job => job.get('name')))
  await admin.ask(
    source,
    'CLUSTER',
    'MIGRATESLOTS',
    'SLOTSRANGE',
    ...ranges.flat().map(String),
    'NODE',
    target.id
  )
  const text = ranges.map(range => range.join('-')).join(' ')
  return {
    status: async () =>
      (await jobsAt(admin, source)).find(
        job => !known.has(job.get('name')) && job.get('slot_ranges') === text
      ) ?? new Map()
  }
}

const jobsAt = async (admin: Admin, source: MapNode): Promise<Array<ReadonlyMap<string, string>>> =>
  ((await admin.ask(source, 'CLUSTER', 'GETSLOTMIGRATIONS')) as readonly Reply[]).map(fieldsOf)

async function startAtTarget(
  admin: Admin,
  ranges: ReturnType<typeof rangesOf>,
  source: MapNode,
  target: MapNode
): Promise<Job> {
  const id = String(
    await admin.ask(target, 'CLUSTER', 'MIGRATION', 'IMPORT', ...ranges.flat().map(String))
  )
  return {
    status: async () => {
      const [task] = (await admin.ask(
        target,
        'CLUSTER',
        'MIGRATION',
        'STATUS',
        'ID',
        id
      )) as readonly Reply[]
      return task === undefined ? new Map() : fieldsOf(task)
    },
    // Each of the two has the job. If one dies, the other tries to go on, and meanwhile it refuses
    // to have the slots moved key by key.
    cancel: async () => {
      const cancelling = [source, target].map(node =>
        admin.ask(node, 'CLUSTER', 'MIGRATION', 'CANCEL', 'ID', id)
      )
      await Promise.allSettled(cancelling)
    }
  }
}

// Field, value, field, value …
function fieldsOf(reply: Reply): ReadonlyMap<string, string> {
  const words = (reply as readonly Reply[]).map(String)
  return new Map(
    words.flatMap((word, index) =>
      index % 2 === 0 ? [[word, words[index + 1] ?? ''] as const] : []
    )
  )
}

// COMMAND INFO answers null for a command that the server does not have.
async function wayOf(admin: Admin, node: MapNode): Promise<AtomicWay | undefined> {
  const [valkey, redis] = (await admin.ask(
    node,
    'COMMAND',
    'INFO',
    'cluster|migrateslots',
    'cluster|migration'
  )) as readonly Reply[]
  if (Array.isArray(valkey) && valkey.length > 0) return 'valkey'
  return Array.isArray(redis) && redis.length > 0 ? 'redis' : undefined
}
