// Reads the settings, builds the app, listens, and stops on a signal; nothing else. Imports only
// types at the top, because the modules are loaded later.
import type { App } from './app.js'
import { readConfig, type Config } from './config.js'
import { redisTarget } from './config/redis-target.js'
import { EmbeddedCluster } from './embedded/cluster.js'
import { messageOf } from './errors.js'
import type { Parent } from './workers/parent.js'

const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

/** Time a worker may need to stop beyond its deadlines, before it is killed. */
const WORKER_STOP_MS = 5000

let embedding: Promise<EmbeddedCluster> | undefined
let app: App | undefined
let parent: Parent | undefined
let stopping: Promise<void> | undefined

// May be called during the start as well; then it stops what has been started so far.
function stop(): Promise<void> {
  stopping ??= (async () => {
    await app?.stop()
    await parent?.stop()
    const embedded = await embedding?.catch(() => undefined)
    await embedded?.stop()
  })()
  return stopping
}

function urlHost(address: string): string {
  if (address === '0.0.0.0' || address === '::') return 'localhost'
  return address.includes(':') ? `[${address}]` : address
}

async function start(config: Config): Promise<void> {
  if (config.redis === undefined) {
    embedding = EmbeddedCluster.start({
      ...config.embedded,
      report: say
    })
    // Awaited below. A failure before that must not count as an unhandled rejection.
    embedding.catch(() => undefined)
  }
  const port = config.server.workers === 1 ? await startAlone(config) : await startWorkers(config)
  if (port === undefined) return
  const url = `http://${urlHost(config.server.host)}:${port}`
  say(`Dialogs is ready. The page: ${url}/chat?chat_id=room123`)
  const needsToken = config.keys !== undefined
  // `npm run token` can sign only with a secret.
  if (config.identity.authJwtSecret !== '') {
    say('  token=$(npm run --silent token -- --user ann --read room123 --write room123)')
  } else if (needsToken) say('  token=...    # of your application')
  const right = needsToken ? ' -H "Authorization: Bearer $token"' : ''
  say(
    `  curl -X POST ${url}/rooms/room123/messages${right} -H 'Content-Type: application/json' -d '{"user":"ann","text":"hello"}'`
  )
  say(`  curl -N ${url}/rooms/room123/events${right}`)
}

/** Returns the port; undefined if a signal came in the meantime. */
async function startAlone(config: Config): Promise<number | undefined> {
  // Loaded while Redis starts: together this takes 2.5 s instead of 3.
  const { buildApp } = await import('./app.js')
  const redis = config.redis ?? redisTarget((await embedding)?.serviceUrls ?? [])
  if (stopping !== undefined) return undefined
  app = await buildApp(config, redis)
  await app.fastify.listen({
    host: config.server.host,
    port: config.server.port,
    backlog: config.server.listenBacklog
  })
  const listening = app.fastify.server.address()
  // A string only for a UNIX socket, which the settings do not offer.
  return typeof listening === 'object'
    ? (listening?.port ?? config.server.port)
    : config.server.port
}

async function startWorkers(config: Config): Promise<number | undefined> {
  const { Parent } = await import('./workers/parent.js')
  const redisUrls = (await embedding)?.serviceUrls
  if (stopping !== undefined) return undefined
  parent = new Parent({
    workers: config.server.workers,
    host: config.server.host,
    port: config.server.port,
    backlog: config.server.listenBacklog,
    redisUrls,
    stopMsMax: config.live.drainMs + config.cluster.storeDeadlineMs + WORKER_STOP_MS,
    warn: line => {
      process.stderr.write(`${line}\n`)
    },
    onGivenUp: () => {
      void stop().finally(() => process.exit(1))
    }
  })
  const port = await parent.start()
  say(`${config.server.workers} workers serve one port`)
  return port
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    stop().then(
      () => process.exit(0),
      error => {
        process.stderr.write(`Stopping failed: ${messageOf(error)}\n`)
        process.exit(1)
      }
    )
  })
}

try {
  await start(readConfig())
} catch (error) {
  // Errors of the listener name an address, but no setting.
  const { syscall } = error as NodeJS.ErrnoException
  const where = syscall === 'listen' || syscall === 'getaddrinfo' ? 'HOST and PORT: ' : ''
  process.stderr.write(`Dialogs cannot start: ${where}${messageOf(error)}\n`)
  await stop().catch(() => undefined)
  process.exit(1)
}
