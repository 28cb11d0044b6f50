// Posts one message after the other from a thread of its own, and measures each. In the thread of a
// test that holds a million names, the collection of garbage alone would take longer than a POST.
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import type { Test } from 'tap'
import { post } from './client.js'

const PAUSE_MS = 5

type Posted = { readonly user: string; readonly status: number; readonly ms: number }

export type TimedPosts = {
  /** A name for what the test is doing now. The caller sets it; times are kept under it. */
  during: string
  readonly times: ReadonlyMap<string, number[]>
  /** Resolves with the users that have written, each once, when no POST is under way. */
  readonly stop: () => Promise<string[]>
}

/** Posts as one user after the other, until the users are used up or `stop` is called. */
export function timePosts(
  t: Test,
  target: { readonly url: string; readonly room: string; readonly users: readonly string[] }
): TimedPosts {
  const worker = new Worker(new URL(import.meta.url), { workerData: target })
  t.teardown(() => worker.terminate())
  const times = new Map<string, number[]>()
  const users: string[] = []
  const posts = {
    during: 'beginning',
    times,
    stop: async () => {
      const ended = new Promise(resolve => worker.once('exit', resolve))
      worker.postMessage('stop')
      await ended
      return users
    }
  }
  worker.on('message', ({ user, status, ms }: Posted) => {
    if (status !== 201) t.fail(`A POST was answered ${status} while ${posts.during}`)
    users.push(user)
    times.set(posts.during, [...(times.get(posts.during) ?? []), ms])
  })
  return posts
}

async function run(): Promise<void> {
  // The argument of `timePosts`.
  const { url, room, users } = workerData as Parameters<typeof timePosts>[1]
  let isStopped = false
  parentPort?.once('message', () => {
    isStopped = true
  })
  for (const user of users) {
    if (isStopped) break
    const begun = performance.now()
    const { status } = await post(url, room, user, 'hello')
    parentPort?.postMessage({ user, status, ms: performance.now() - begun } satisfies Posted)
    await sleep(PAUSE_MS)
  }
  parentPort?.close()
}

if (!isMainThread && workerData !== null) await run()
