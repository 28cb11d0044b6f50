// One of several service processes behind one port (WORKERS). The parent accepts connections and
// hands them over; this process serves them as a single process would. Invariant: it never outlives
// its parent, and it drains before it ends unless it is killed.
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { App } from '../app.js'
import { readConfig } from '../config.js'
import { redisTarget } from '../config/redis-target.js'
import { messageOf } from '../errors.js'
import { type Fleet, type FromWorker, type MetricsJson, type ToWorker } from './messages.js'
import { OF_ONE_PROCESS } from './sum.js'

/** How often the parent gets the metrics unasked: a worker that is killed loses what came later. */
const REPORT_MS = 5000
/** How long closed connections are counted before the parent is told. */
const CLOSED_MS = 50
/** How long a stop waits for the first requests on connections that have just been handed over. */
const UNHEARD_MS_MAX = 1000
const UNHEARD_POLL_MS = 10

let app: App | undefined
let stopping: Promise<void> | undefined
let fleet: Fleet = { running: 0, wanted: 0 }
let sums = 0
const waiting = new Map<number, (text: string) => void>()
let closed = 0
/** Connections on which no request has come yet. */
const unheard = new Set<Socket>()

// The parent may be gone already; `disconnect` then ends this process.
function tell(message: FromWorker, onSent: () => void = () => undefined): void {
  if (process.connected) process.send?.(message, undefined, undefined, onSent)
}

async function start(redisUrls: readonly string[] | undefined): Promise<void> {
  const config = readConfig()
  const { buildApp } = await import('../app.js')
  const redis = config.redis ?? redisTarget(redisUrls ?? [])
  app = await buildApp(config, redis, { metricsText: sumOfAll, fleet: () => fleet })
  app.fastify.server.on('request', ({ socket }) => unheard.delete(socket))
  // Connections come from the parent. This address exists because Node enforces request timeouts
  // only on a listening server. It also answers, which helps to look at a single worker.
  await app.fastify.listen({ host: '127.0.0.1', port: 0 })
  tell({ kind: 'ready' })
  setInterval(() => {
    report()
  }, REPORT_MS).unref()
}

// Without the metrics of the process itself: collecting the delays of the event loop begins them
// anew, and nobody would see them.
function report(): void {
  if (app === undefined) return
  const { registry } = app.metrics
  const metrics = registry
    .getMetricsAsArray()
    .flatMap(({ name }) =>
      OF_ONE_PROCESS.test(name) ? [] : (registry.getSingleMetric(name) ?? [])
    )
  tellCounted(Promise.all(metrics.map(async metric => await metric.get())))
}

function tellCounted(counting: Promise<MetricsJson>, id?: number): void {
  counting.then(
    metrics => {
      tell({ kind: 'counted', metrics, ...(id === undefined ? {} : { id }) })
    },
    () => undefined
  )
}

function stop(): void {
  stopping ??= (async () => {
    // They would be reset, with the requests that are on their way.
    const until = performance.now() + UNHEARD_MS_MAX
    while (unheard.size > 0 && performance.now() < until) await sleep(UNHEARD_POLL_MS)
    await app?.stop()
    const metrics = await app?.metrics.registry.getMetricsAsJSON()
    if (metrics === undefined || !process.connected) return
    await new Promise<void>(resolve => {
      tell({ kind: 'counted', metrics }, resolve)
    })
  })()
  stopping.then(
    () => process.exit(0),
    error => {
      process.stderr.write(`Stopping a worker failed: ${messageOf(error)}\n`)
      process.exit(1)
    }
  )
}

function serve(socket: Socket | undefined): void {
  tell({ kind: 'taken' })
  if (socket === undefined || app === undefined) return countClosed()
  unheard.add(socket)
  socket.once('close', () => {
    unheard.delete(socket)
    countClosed()
  })
  // As Node's own HTTP server does.
  socket.allowHalfOpen = true
  socket.setNoDelay(true)
  app.fastify.server.emit('connection', socket)
  socket.resume()
}

function countClosed(): void {
  if (closed++ > 0) return
  setTimeout(() => {
    tell({ kind: 'closed', count: closed })
    closed = 0
  }, CLOSED_MS)
}

function sumOfAll(): Promise<string> {
  const id = sums++
  return new Promise(resolve => {
    waiting.set(id, resolve)
    tell({ kind: 'sum', id })
  })
}

// Node types messages as unknown; they come only from our parent.
process.on('message', (message: ToWorker, socket: Socket | undefined) => {
  switch (message.kind) {
    case 'start':
      start(message.redisUrls).catch(error => {
        tell({ kind: 'failed', message: messageOf(error) }, () => process.exit(1))
      })
      break
    case 'connection':
      serve(socket)
      break
    case 'stop':
      stop()
      break
    case 'count':
      if (app !== undefined) tellCounted(app.metrics.registry.getMetricsAsJSON(), message.id)
      break
    case 'summed':
      waiting.get(message.id)?.(message.text)
      waiting.delete(message.id)
      break
    case 'fleet':
      fleet = message.fleet
  }
})
process.once('disconnect', stop)
// Ctrl-C in a terminal reaches all processes at once. The parent closes the listener first and then
// sends `stop`.
process.on('SIGINT', () => undefined)
// The parent answers with `stop`. Before that come the connections that it has handed over without
// knowing.
process.on('SIGTERM', () => {
  if (process.connected) tell({ kind: 'leaving' })
  else stop()
})
