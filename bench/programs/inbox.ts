// People and their dialogs: creates members, asks for lists at a steady rate while others write,
// and measures the time from a POST to the event on the recipient's stream. Readers and writers are
// in one process, so one clock serves both. The loops are open: whatever is due is sent without
// waiting for answers.
import { setTimeout as sleep } from 'node:timers/promises'
import { build, type Histogram } from 'hdr-histogram-js'
import pLimit from 'p-limit'
import { Pool } from 'undici'
import { SseConnection } from '../../tests/drills/sse-connection.js'
import { serve } from '../program.js'

export type Membership = readonly [room: string, user: string]

export type ListLoad = {
  readonly url: string
  /** People whose lists are requested in turn. */
  readonly users: readonly string[]
  readonly listsPerSecond: number
  /** The rooms that are written to in turn, and who writes. */
  readonly writes: readonly Membership[]
  readonly writesPerSecond: number
  readonly seconds: number
}

export type PairLoad = {
  readonly url: string
  /** A room, who writes there, and who must be told. */
  readonly pairs: ReadonlyArray<readonly [room: string, writer: string, recipient: string]>
  readonly writesPerSecond: number
  readonly seconds: number
}

export type Times = {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly count: number
  readonly failed: number
  /** Messages whose event already announced a later one. */
  readonly superseded: number
}

export type InboxMethods = {
  join: (argument: {
    readonly url: string
    readonly memberships: readonly Membership[]
  }) => Promise<{ readonly seconds: number }>
  lists: (load: ListLoad) => Promise<Times>
  /** Opens a stream for each person, and resolves when all are live. */
  open: (argument: {
    readonly url: string
    readonly users: readonly string[]
  }) => Promise<{ readonly liveMs: number }>
  pairs: (load: PairLoad) => Promise<Times>
  close: (argument: null) => Promise<void>
}

const MICROSECONDS = 1000
const CONNECTIONS_MAX = 256
const CONNECTING_MAX = 200
const LIVE_MS_MAX = 240_000
const LAST_MS = 2000
const FILLER = 'x'.repeat(100)

const streams = new Map<string, SseConnection>()
let onFrame: (user: string, frame: Buffer) => void = () => undefined

const newHistogram = (): Histogram =>
  build({ lowestDiscernibleValue: 1, numberOfSignificantValueDigits: 3 })

function timesOf(
  histogram: Histogram,
  { failed, superseded }: { failed: number; superseded: number }
): Times {
  const atMs = (percentile: number): number =>
    histogram.getValueAtPercentile(percentile) / MICROSECONDS
  return {
    p50Ms: atMs(50),
    p99Ms: atMs(99),
    maxMs: histogram.maxValue / MICROSECONDS,
    count: histogram.totalCount,
    failed,
    superseded
  }
}

async function request(
  pool: Pool,
  method: 'GET' | 'POST' | 'PUT',
  path: string,
  body?: object
): Promise<void> {
  const answer = await pool.request({
    method,
    path,
    ...(body === undefined
      ? {}
      : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  })
  await answer.body.dump()
  if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode}`)
}

/** Calls `send` at this rate. Resolves when the time is over. */
async function steadily(
  perSecond: number,
  seconds: number,
  send: (index: number) => void
): Promise<void> {
  const begunAt = performance.now()
  for (let index = 0; index < perSecond * seconds;) {
    const due = ((performance.now() - begunAt) * perSecond) / 1000
    for (; index < Math.min(due, perSecond * seconds); index++) send(index)
    await sleep(1)
  }
}

async function join({
  url,
  memberships
}: {
  url: string
  memberships: readonly Membership[]
}): Promise<{ seconds: number }> {
  const pool = new Pool(url, { connections: 64 })
  const limit = pLimit(64)
  const begunAt = performance.now()
  await Promise.all(
    memberships.map(([room, user]) =>
      limit(() => request(pool, 'PUT', `/rooms/${room}/users/${user}`))
    )
  )
  await pool.destroy()
  return { seconds: (performance.now() - begunAt) / 1000 }
}

async function lists(load: ListLoad): Promise<Times> {
  const pool = new Pool(load.url, { connections: CONNECTIONS_MAX })
  const histogram = newHistogram()
  let failed = 0
  const fail = (): void => {
    failed++
  }
  await Promise.all([
    steadily(load.writesPerSecond, load.seconds, index => {
      const [room = '', user = ''] = load.writes[index % load.writes.length] ?? []
      request(pool, 'POST', `/rooms/${room}/messages`, { user, text: FILLER }).catch(fail)
    }),
    steadily(load.listsPerSecond, load.seconds, index => {
      const user = load.users[index % load.users.length] ?? ''
      const sentAt = performance.now()
      request(pool, 'GET', `/users/${user}/rooms`).then(() => {
        histogram.recordValue(Math.round((performance.now() - sentAt) * MICROSECONDS))
      }, fail)
    })
  ])
  await sleep(LAST_MS)
  await pool.destroy()
  return timesOf(histogram, { failed, superseded: 0 })
}

async function open({
  url,
  users
}: {
  url: string
  users: readonly string[]
}): Promise<{ liveMs: number }> {
  const begunAt = performance.now()
  const limit = pLimit(CONNECTING_MAX)
  await Promise.all(
    users.map(user =>
      limit(
        () =>
          new Promise<void>((resolve, reject) => {
            const timer = setTimeout(() => {
              reject(new Error(`The stream of ${user} is not live`))
            }, LIVE_MS_MAX)
            const stream = new SseConnection(
              new URL(`/users/${user}/events`, url),
              {},
              {
                onOpen: () => undefined,
                onFrame: frame => {
                  if (frame.includes('event: live')) {
                    clearTimeout(timer)
                    resolve()
                  } else onFrame(user, frame)
                },
                onEnd: () => {
                  reject(new Error(`The stream of ${user} has ended`))
                }
              }
            )
            streams.set(user, stream)
          })
      )
    )
  )
  return { liveMs: performance.now() - begunAt }
}

async function pairs(load: PairLoad): Promise<Times> {
  const pool = new Pool(load.url, { connections: CONNECTIONS_MAX })
  const histogram = newHistogram()
  const sentAt: number[] = []
  const recipients: string[] = []
  let failed = 0
  let received = 0
  onFrame = (user, frame) => {
    const mark = frame.indexOf('"#')
    const index = Number.parseInt(frame.toString('latin1', mark + 2, mark + 12), 10)
    if (mark < 0 || recipients[index] !== user) return
    recipients[index] = ''
    received++
    histogram.recordValue(Math.round((performance.now() - (sentAt[index] ?? 0)) * MICROSECONDS))
  }
  await steadily(load.writesPerSecond, load.seconds, index => {
    const [room = '', user = '', recipient = ''] = load.pairs[index % load.pairs.length] ?? []
    sentAt[index] = performance.now()
    recipients[index] = recipient
    request(pool, 'POST', `/rooms/${room}/messages`, { user, text: `#${index} ${FILLER}` }).catch(
      () => {
        failed++
      }
    )
  })
  await sleep(LAST_MS)
  await pool.destroy()
  return timesOf(histogram, { failed, superseded: sentAt.length - received - failed })
}

async function close(): Promise<void> {
  for (const stream of streams.values()) stream.cut()
  streams.clear()
}

serve({ join, lists, open, pairs, close } satisfies InboxMethods)
