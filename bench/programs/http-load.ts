// A load of HTTP requests by autocannon, in a process of its own. Connections are kept alive, and
// the loop is closed: each connection sends when its last answer has arrived. POSTs come from a
// crowd of users, different for each connection, so that the connections do not run in step.
import autocannon from 'autocannon'
import { crowd } from '../../src/cli/crowd.js'
import { serve } from '../program.js'

export type Writer = { readonly user: string; readonly token?: string }

export type HttpLoad = {
  readonly url: string
  readonly connections: number
  /** The end of the run: a time, a number of requests, or `stop`. */
  readonly seconds?: number
  readonly amount?: number
  /** What to POST: messages of one user to one room, or of each of `users` to each of `rooms`. */
  readonly posts?: {
    readonly room: string
    readonly rooms?: number
    readonly users?: number
    readonly textBytes: number
    /** Each connection writes as one of these users instead, with the token if there is one. */
    readonly writers?: readonly Writer[]
  }
  /** A path to GET instead. */
  readonly path?: string
}

export type HttpLoaded = {
  /** Answered 2xx. */
  readonly answered: number
  readonly failed: number
  readonly seconds: number
  readonly cpuSeconds: number
  /** From request to answer, from the first request on. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
}

export type HttpLoadMethods = {
  run: (load: HttpLoad) => Promise<HttpLoaded>
  /** Ends a run early; `run` then resolves. */
  stop: (argument: null) => Promise<void>
}

/**
 * How many different requests a connection sends in turn: the first of these that REQUESTS_MAX
 * allows, or else REQUESTS_MIN. autocannon builds all requests when it starts, and counts that time
 * in the first latencies: 216,000 requests took 2.4 s. So the total stays about what 64 connections
 * with 211 each have. None of the three numbers divides a number of rooms that is used, so that
 * each connection begins at another room.
 */
const REQUESTS_PER_CONNECTION = [211, 53]
const REQUESTS_MIN = 13
const REQUESTS_MAX = 64 * 211
/** How often autocannon checks whether its time is over. */
const SAMPLE_MS = 100
/** autocannon needs a time even where something else ends the run. */
const SECONDS_MAX = 3600

let current: Pick<autocannon.Instance, 'stop'> | undefined

async function run({
  url,
  connections,
  seconds,
  amount,
  posts,
  path
}: HttpLoad): Promise<HttpLoaded> {
  const compose =
    posts === undefined
      ? undefined
      : crowd({
          room: posts.room,
          rooms: posts.rooms,
          user: undefined,
          users: posts.users,
          zipf: 0,
          seed: 1,
          textBytes: posts.textBytes
        })
  const requests =
    REQUESTS_PER_CONNECTION.find(length => length * connections <= REQUESTS_MAX) ?? REQUESTS_MIN
  let index = 0
  let connection = 0
  const before = process.cpuUsage()
  const result = await autocannonUntilDone({
    url: `${url}${path ?? ''}`,
    connections,
    duration: seconds ?? SECONDS_MAX,
    ...(amount === undefined ? {} : { amount }),
    sampleInt: SAMPLE_MS,
    ...(compose === undefined
      ? {}
      : {
          setupClient: client => {
            const writers = posts?.writers ?? []
            const writer = writers[connection++ % writers.length]
            client.setRequests(
              Array.from({ length: requests }, () => {
                const { room, user, text } = compose(index++)
                return {
                  method: 'POST' as const,
                  path: `/rooms/${room}/messages`,
                  headers: {
                    'content-type': 'application/json',
                    ...(writer?.token === undefined
                      ? {}
                      : { authorization: `Bearer ${writer.token}` })
                  },
                  body: JSON.stringify({ user: writer?.user ?? user, text })
                }
              })
            )
          }
        })
  })
  const { user, system } = process.cpuUsage(before)
  return {
    answered: result['2xx'],
    failed: result.non2xx + result.errors,
    seconds: result.duration,
    cpuSeconds: (user + system) / 1e6,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
    p999Ms: result.latency.p99_9,
    maxMs: result.latency.max
  }
}

// Only with a callback does it return an object that can be stopped.
async function autocannonUntilDone(options: autocannon.Options): Promise<autocannon.Result> {
  return await new Promise((resolve, reject) => {
    current = autocannon(options, (error: unknown, result) => {
      if (error === null || error === undefined) resolve(result)
      else reject(error)
    })
  })
}

serve({
  run,
  stop: async () => {
    current?.stop()
  }
} satisfies HttpLoadMethods)
