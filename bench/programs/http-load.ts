// A load of HTTP requests by autocannon, in a process of its own. Connections are kept alive and closed-loop: each sends when its last
// answer has come. POSTs are drawn from a crowd, other ones for each connection, so that connections do not march in step.
import autocannon from 'autocannon'
import { crowd } from '../../src/cli/crowd.js'
import { serve } from '../program.js'

export type HttpLoad = {
  readonly url: string
  readonly connections: number
  /** Either so long, or so many requests, or until `stop`. */
  readonly seconds?: number
  readonly amount?: number
  /** What is POSTed: by one user to one room, or by each of `users` alike to each of `rooms`. */
  readonly posts?: { readonly room: string, readonly rooms?: number, readonly users?: number, readonly textBytes: number }
  /** What is GET instead. */
  readonly path?: string
}

export type HttpLoaded = {
  /** Answered 2xx. */
  readonly answered: number
  readonly failed: number
  readonly seconds: number
  readonly cpuSeconds: number
}

export type HttpLoadMethods = {
  run: (load: HttpLoad) => Promise<HttpLoaded>
  /** Ends a run before its time; `run` answers then. */
  stop: (argument: null) => Promise<void>
}

/** Different requests of one connection, over and over. No divisor of a number of rooms: connections begin at different ones. */
const REQUESTS_PER_CONNECTION = 211
/** How often autocannon looks whether its time is over. */
const SAMPLE_MS = 100
/** autocannon wants a time also where something else ends it. */
const SECONDS_MAX = 3600

let current: Pick<autocannon.Instance, 'stop'> | undefined

async function run ({ url, connections, seconds, amount, posts, path }: HttpLoad): Promise<HttpLoaded> {
  const compose = posts === undefined ? undefined : crowd({ room: posts.room, rooms: posts.rooms, user: undefined, users: posts.users, zipf: 0, seed: 1, textBytes: posts.textBytes })
  let index = 0
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
            client.setRequests(Array.from({ length: REQUESTS_PER_CONNECTION }, () => {
              const { room, user, text } = compose(index++)
              return { method: 'POST' as const, path: `/rooms/${room}/messages`, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ user, text }) }
            }))
          }
        })
  })
  const { user, system } = process.cpuUsage(before)
  return { answered: result['2xx'], failed: result.non2xx + result.errors, seconds: result.duration, cpuSeconds: (user + system) / 1e6 }
}

// Only with a callback does it answer what can be stopped.
async function autocannonUntilDone (options: autocannon.Options): Promise<autocannon.Result> {
  return await new Promise((resolve, reject) => {
    current = autocannon(options, (error: unknown, result) => {
      if (error === null || error === undefined) resolve(result)
      else reject(error)
    })
  })
}

serve({ run, stop: async () => { current?.stop() } } satisfies HttpLoadMethods)
