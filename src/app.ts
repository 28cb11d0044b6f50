// Builds the application: the routes on top of the service (service.ts), and what they need
// beside it, such as identity and limits. Invariant: whatever is started here is ended by `stop`,
// which is also the place that says in which order. No other module knows all parts.
import { type FastifyInstance } from 'fastify'
import { type Config } from './config.js'
import { type RedisTarget } from './config/redis-target.js'
import { ANYBODY } from './identity/caller.js'
import { Jwks, JWKS_TIMES } from './identity/jwks.js'
import { ClusterWatch } from './live/cluster-watch.js'
import { type Metrics } from './metrics.js'
import { Cluster } from './redis/cluster.js'
import { type ClusterDescription, describeCluster } from './redis/shards.js'
import { Answers } from './routes/answers.js'
import { Connections } from './routes/connections.js'
import { changeRoutes } from './routes/changes.js'
import { clusterRoutes } from './routes/cluster.js'
import { openApi } from './routes/contract.js'
import { allowOrigins } from './routes/cors.js'
import { docsRoutes } from './routes/docs.js'
import { API_HEADERS, errorRoutes, errorSender } from './routes/errors.js'
import { dialogRoutes } from './routes/dialogs.js'
import { eventRoutes } from './routes/events.js'
import { personEventRoutes } from './routes/person-events.js'
import { Gate } from './routes/gate.js'
import { Hosts } from './routes/hosts.js'
import { createHttpServer } from './routes/http-server.js'
import { collectRoutes } from './routes/known-routes.js'
import { Limits } from './routes/limits.js'
import { messageRoutes } from './routes/messages.js'
import { healthRoutes, operationRoutes, type Team } from './routes/operations.js'
import { pageRoutes } from './routes/page.js'
import { roomRoutes } from './routes/rooms.js'
import { shareByShard } from './routes/shard-shares.js'
import { signalRoutes } from './routes/signals.js'
import { requestFault } from './routes/request-check.js'
import { ticketRoutes } from './routes/tickets.js'
import { REQUIREMENTS } from './store/requirements.js'
import { Service } from './service.js'
import { Shared } from './shared.js'
import { Shares } from './shares.js'
import { ticketsIn } from './store/tickets.js'
import { Telemetry } from './telemetry.js'
import { VERSION } from './version.js'

declare module 'fastify' {
  // Module augmentation merges interfaces only.
  interface FastifyRequest {
    /** By performance.now(). */
    startedAt: number
  }
}

export type App = {
  readonly fastify: FastifyInstance
  /** What this process counts. */
  readonly metrics: Metrics
  /**
   * Accepts no new connections, finishes the requests on open ones, ends the streams spread over
   * DRAIN_MS, and releases everything.
   */
  readonly stop: () => Promise<void>
}

/**
 * A code point takes at most 12 bytes of JSON (two \uXXXX); the rest is for the user, field names
 * and white space.
 */
const bodyBytesFor = (textMax: number): number => 12 * textMax + 4096

/** How long a stop waits, after the deadline of the last POST, for its answer to be sent. */
const ANSWER_MS = 2000

/** How often the cluster is read for those who watch it. */
const CLUSTER_LOOK_MS = 1000

/** How long a stop leaves an idle connection open: its next request may be on its way. */
const IDLE_MS = 1000

/**
 * @param team the processes that serve the same port, if there are several
 * @throws DialogsError STORE_UNAVAILABLE when the cluster cannot be reached
 */
export async function buildApp(config: Config, redis: RedisTarget, team?: Team): Promise<App> {
  const telemetry = new Telemetry(config.server.logLevel)
  const { metrics, reports, fault } = telemetry
  const sendError = errorSender(reports)
  const { textMax } = config.http
  const bodyBytesMax = bodyBytesFor(textMax)
  const connections = new Connections({
    ...config.http,
    stalledMsMax: config.live.stalledMsMax,
    onStalled: telemetry.connectionStalled
  })
  const fastify = createHttpServer(
    { ...config.http, ...config.identity, bodyBytesMax },
    sendError,
    connections
  )

  const redisOptions = { ...redis, ...config.cluster }
  const cluster = await Cluster.connect(
    { ...redisOptions, requirements: REQUIREMENTS },
    telemetry.cluster
  )
  const service = new Service(
    cluster,
    redisOptions,
    { store: { ...config.store, ...config.cluster }, live: config.live },
    telemetry.service
  )
  const { store, subscriber, hub, people } = service
  metrics.watch(
    {
      streams: () => hub.streamCount,
      rooms: () => hub.roomCount,
      queue: () => store.queueLength,
      ringBytes: () => hub.budget.bytes,
      pagesWaiting: () => hub.pages.waiting,
      subscriberConnections: () => subscriber.connectionCount,
      // A master that was replaced while it had no replica no longer counts.
      degradedShards: () =>
        cluster.topology.masters.filter(node => telemetry.degraded.has(node)).length,
      cutOffNodes: () => telemetry.cutOff.size
    },
    () => store.history.reads
  )

  await service.start()
  store.deletions.start()

  let isStopping = false
  connections.listenTo(fastify.server)
  const answers = new Answers(config.http, store.shardOf)
  const hosts = new Hosts(config.http.allowedHosts, config.server.host)
  fastify.decorateRequest('startedAt', 0)
  fastify.decorateRequest('caller')
  // A callback and not async, because it runs for every POST.
  fastify.addHook('onRequest', (request, reply, done) => {
    request.startedAt = performance.now()
    request.caller = ANYBODY
    connections.enter(request.raw, reply.raw, refusal => {
      done(refusal ?? requestFault(request.raw, hosts))
    })
  })

  fastify.addHook('preParsing', (request, _reply, payload, done) => {
    connections.countBody(request.raw)
    done(null, payload)
  })
  fastify.addHook('preValidation', (request, _reply, done) => {
    done(connections.arrived(request.raw))
  })

  const { identity } = config
  const jwks =
    config.keys?.kind === 'jwks'
      ? new Jwks({
          url: config.keys.url,
          ...JWKS_TIMES,
          onFault: error => {
            fault('jwks', error)
          },
          onChange: () => gate?.keysChanged()
        })
      : undefined
  const keys = config.keys?.kind === 'keys' ? config.keys.keys : jwks
  const gate: Gate | undefined =
    keys === undefined
      ? undefined
      : new Gate({
          settings: identity,
          keys,
          members: store.members,
          ticketStore: ticketsIn(cluster)
        })
  await jwks?.start()
  const limits = new Limits({ ...identity, bodyBytesMax })

  if (identity.corsOrigins.size > 0) allowOrigins(fastify, identity.corsOrigins)
  errorRoutes(fastify, sendError, collectRoutes(fastify))
  const describeApi = openApi(fastify, { version: VERSION, textMax })
  const withApiHeaders = (scope: FastifyInstance): void => {
    scope.addHook('onRequest', (_request, reply, done) => {
      reply.headers(API_HEADERS)
      done()
    })
  }
  // In a scope beside that of the API: Fastify gives a scope's hooks to the scopes inside it, even
  // to those registered before, and health needs no token.
  await fastify.register(async open => {
    withApiHeaders(open)
    await open.register(healthRoutes, {
      cluster,
      describeApi,
      workers: team?.fleet,
      isStopping: () => isStopping
    })
  })
  await fastify.register(async api => {
    withApiHeaders(api)
    // Before the gate, which may ask the store who is a member.
    shareByShard(api, connections, new Shares(store.shardOf))
    gate?.guard(api, 'api')
    limits.count(api)
    await api.register(ticketRoutes, { tickets: gate?.tickets })
    await api.register(messageRoutes, {
      store,
      answers,
      textMax,
      pageBytesMax: config.live.pageBytesMax,
      sendError,
      onPost: (code, seconds) => {
        metrics.countPost(code, seconds)
      }
    })
    await api.register(changeRoutes, { store, textMax })
    await api.register(roomRoutes, { store, answers })
    await api.register(dialogRoutes, { store, answers, pageBytesMax: config.live.pageBytesMax })
    await api.register(signalRoutes, { signals: service.signals })
    await api.register(operationRoutes, {
      metricsText: team?.metricsText ?? (async () => await metrics.registry.metrics()),
      metricsType: metrics.registry.contentType
    })
  })
  const streaming = {
    hub,
    limits,
    rights: gate?.rights,
    connections,
    sendError,
    isStopping: () => isStopping,
    ...config.live,
    onEnd: telemetry.streamEnded,
    onPutOff: telemetry.streamPutOff
  }
  await fastify.register(async streams => {
    gate?.guard(streams, 'streams')
    await streams.register(eventRoutes, streaming)
    await streams.register(personEventRoutes, { people, ...streaming })
  })
  // A description takes several commands to each node, so simultaneous requests share one.
  const descriptions = new Shared<ClusterDescription>()
  const describe = async (): Promise<ClusterDescription> =>
    await descriptions.read('', async () => await describeCluster(cluster))
  const watch = new ClusterWatch(describe, {
    intervalMs: CLUSTER_LOOK_MS,
    onFault: error => {
      fault('cluster watch', error)
    }
  })
  await fastify.register(clusterRoutes, {
    ...streaming,
    describe,
    watch,
    guard: scope => gate?.guard(scope, 'api')
  })
  await fastify.register(pageRoutes)
  await fastify.register(docsRoutes)

  const stop = async (): Promise<void> => {
    isStopping = true
    // The listener is closed first: a new connection is refused, so its client goes elsewhere or
    // tries again. Requests on open connections are answered as usual, except streams, and each
    // answer closes its connection.
    await connections.closeListener(fastify.server)
    await Promise.all([
      hub.drain(config.live.drainMs),
      connections.closeIdle(Math.min(config.live.drainMs, IDLE_MS))
    ])
    // Each POST ends by its own deadline at the latest. A client that has not sent its request
    // completely by then, or does not take its answer, is cut off.
    const cut = setTimeout(() => {
      fastify.server.closeAllConnections()
    }, config.cluster.storeDeadlineMs + ANSWER_MS)
    await fastify.close()
    // The closed server does not count connections that another process accepted.
    await connections.allClosed()
    clearTimeout(cut)
    connections.close()
    jwks?.close()
    gate?.close()
    reports.flush()
    watch.close()
    await service.stop()
  }
  return { fastify, metrics, stop }
}
