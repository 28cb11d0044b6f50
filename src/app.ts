// Builds the application: the routes on top of the service (service.ts), with its metrics and its
// log. No other module knows all of these.
import Fastify, { type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { type Config } from './config.js'
import { type RedisTarget } from './config/redis-target.js'
import { DialogsError } from './errors.js'
import { ANYBODY } from './identity/caller.js'
import { Jwks, JWKS_TIMES } from './identity/jwks.js'
import { ClusterWatch } from './live/cluster-watch.js'
import { type EndReason } from './live/stream.js'
import { Metrics } from './metrics.js'
import { Cluster } from './redis/cluster.js'
import { type ClusterDescription, describeCluster } from './redis/shards.js'
import { Answers } from './routes/answers.js'
import { Connections } from './routes/connections.js'
import { Reports } from './reports.js'
import { changeRoutes } from './routes/changes.js'
import { clusterRoutes } from './routes/cluster.js'
import { openApi } from './routes/contract.js'
import { allowOrigins } from './routes/cors.js'
import { docsRoutes } from './routes/docs.js'
import { answerBrokenRequest, answerExpectations, answerTunnels } from './routes/broken-requests.js'
import { API_HEADERS, errorRoutes, errorSender } from './routes/errors.js'
import { dialogRoutes } from './routes/dialogs.js'
import { eventRoutes } from './routes/events.js'
import { personEventRoutes } from './routes/person-events.js'
import { Gate } from './routes/gate.js'
import { Hosts } from './routes/hosts.js'
import { readJsonBodies } from './routes/json-body.js'
import { collectRoutes } from './routes/known-routes.js'
import { Limits } from './routes/limits.js'
import { messageRoutes } from './routes/messages.js'
import { healthRoutes, operationRoutes, type Team } from './routes/operations.js'
import { pageRoutes } from './routes/page.js'
import { roomRoutes } from './routes/rooms.js'
import { signalRoutes } from './routes/signals.js'
import { HEADERS_MAX, requestFault } from './routes/request-check.js'
import { ticketRoutes } from './routes/tickets.js'
import { REQUIREMENTS } from './store/requirements.js'
import { Service } from './service.js'
import { ticketsIn } from './store/tickets.js'
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
const bodyBytesMax = (textMax: number): number => 12 * textMax + 4096

/**
 * A stream of 100 rooms names each in its URL, with 64 characters of up to 12 bytes (%XX four
 * times), and its cursor has a place for each. Node's default is 16 KiB.
 */
const HEADER_BYTES_MAX = 128 * 1024

/** Time left for a stop after the deadline of the last POST, to send its answer. */
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
  const log = pino(
    { level: config.server.logLevel, serializers: { err: pino.stdSerializers.errWithCause } },
    process.stderr
  )
  const reports = new Reports(log)
  const sendError = errorSender(reports)
  const fastify = Fastify({
    // With a logger, Fastify creates one for each request and listens for the end of each answer,
    // as it does for an onResponse hook. Without both, and with POSTs counted by the thousand, a
    // POST whose store answers at once takes 35 instead of 45 µs (bench/RESULTS.md).
    logger: false,
    trustProxy: config.identity.trustProxy === '' ? false : config.identity.trustProxy,
    bodyLimit: bodyBytesMax(config.http.textMax),
    // The timeout is set twice. Fastify applies the first one to the server it creates; Node would
    // still apply its own limit to the headers.
    requestTimeout: config.http.requestTimeoutMs,
    http: {
      maxHeaderSize: HEADER_BYTES_MAX,
      requestTimeout: config.http.requestTimeoutMs,
      connectionsCheckingInterval: config.http.requestTimeoutMs,
      // Both are needed by request-check.ts: a request without a Host gets our own answer, and a
      // request with two Hosts is not treated as having the first.
      requireHostHeader: false,
      joinDuplicateHeaders: true
    },
    // While the service stops, our own hook refuses requests, with a code.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 2048 },
    // Unknown fields are errors, and nothing is converted silently.
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false } },
    frameworkErrors: sendError,
    clientErrorHandler: answerBrokenRequest
  })
  const metrics = new Metrics()
  const degraded = new Set<string>()
  const cutOff = new Set<string>()

  const redisOptions = { ...redis, ...config.cluster }
  const cluster = await Cluster.connect(
    { ...redisOptions, requirements: REQUIREMENTS },
    {
      refused: fault => {
        if (fault === undefined) log.warn('Redis lets the service work again')
        else log.error({ code: fault.code, err: fault }, fault.message)
      },
      doubted: text => {
        log.warn(text)
      },
      retried: why => {
        metrics.retries.inc({ why })
      },
      degraded: (node, isDegraded) => {
        log.warn(
          { node, isDegraded },
          isDegraded ? 'shard goes on without a replica' : 'shard has a replica again'
        )
        if (isDegraded) degraded.add(node)
        else degraded.delete(node)
      },
      cutOff: (node, isCutOff) => {
        log.warn(
          { node, isCutOff },
          isCutOff
            ? 'a node that the others reach does not answer: requests that need it are refused'
            : 'the node is reached again, or the others have given it up'
        )
        if (isCutOff) cutOff.add(node)
        else cutOff.delete(node)
      }
    }
  )
  const fault = (what: string, error: unknown): void => {
    metrics.faults.inc({ what })
    reports.report(what, { level: 'warn', message: `background work failed: ${what}`, error })
  }
  const service = new Service(
    cluster,
    redisOptions,
    { store: { ...config.store, ...config.cluster }, live: config.live },
    {
      subscriptionLost: why => {
        metrics.subscriptionsLost.inc({ why })
      },
      doubted: channels => {
        metrics.doubts.inc({ of: channels === 'all' ? 'all' : 'some' })
      },
      gap: () => {
        metrics.gaps.inc()
      },
      reset: reason => {
        metrics.resets.inc({ reason })
      },
      earlyFull: () => {
        metrics.limits.inc({ limit: 'early' })
      },
      ringEvicted: () => {
        metrics.limits.inc({ limit: 'ring' })
      },
      stalled: stalledMs => {
        reports.report('stalled stream', {
          level: 'warn',
          message: 'stream ended: the client takes nothing',
          fields: { stalledMs }
        })
      },
      fault
    }
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
      degradedShards: () => cluster.topology.masters.filter(node => degraded.has(node)).length,
      cutOffNodes: () => cutOff.size
    },
    () => store.history.reads
  )

  await service.start()
  store.deletions.start()

  let isStopping = false
  const connections = new Connections({
    ...config.http,
    bodyBytesMax: bodyBytesMax(config.http.textMax),
    stalledMsMax: config.live.stalledMsMax,
    onStalled: stalledMs => {
      reports.report('stalled connection', {
        level: 'warn',
        message: 'connection closed: the client does not take its answer',
        fields: { stalledMs }
      })
    }
  })
  connections.listenTo(fastify.server)
  const answers = new Answers(config.http)
  const hosts = new Hosts(config.http.allowedHosts, config.server.host)
  fastify.server.maxHeadersCount = HEADERS_MAX
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
  const limits = new Limits({ ...identity, bodyBytesMax: bodyBytesMax(config.http.textMax) })

  if (identity.corsOrigins.size > 0) allowOrigins(fastify, identity.corsOrigins)
  readJsonBodies(fastify)
  answerExpectations(fastify.server)
  answerTunnels(fastify.server)
  errorRoutes(fastify, sendError, collectRoutes(fastify))
  const describeApi = openApi(fastify, { version: VERSION, textMax: config.http.textMax })
  const withApiHeaders = (scope: FastifyInstance): void => {
    scope.addHook('onRequest', (_request, reply, done) => {
      reply.headers(API_HEADERS)
      done()
    })
  }
  // In a scope of its own: a hook also reaches the scopes that are in its own already.
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
    gate?.guard(api, 'api')
    limits.count(api)
    await api.register(ticketRoutes, { tickets: gate?.tickets })
    await api.register(messageRoutes, {
      store,
      answers,
      textMax: config.http.textMax,
      pageBytesMax: config.live.pageBytesMax,
      sendError,
      onPost: (code, seconds) => {
        metrics.countPost(code, seconds)
      }
    })
    await api.register(changeRoutes, { store, textMax: config.http.textMax })
    await api.register(roomRoutes, { store, answers })
    await api.register(dialogRoutes, { store, answers, pageBytesMax: config.live.pageBytesMax })
    await api.register(signalRoutes, { signals: service.signals })
    await api.register(operationRoutes, {
      metricsText: team?.metricsText ?? (async () => await metrics.registry.metrics()),
      metricsType: metrics.registry.contentType
    })
  })
  const onEnd = (reason: EndReason): void => {
    metrics.streamsEnded.inc({ reason })
  }
  const onPutOff = (error: unknown): void => {
    if (error instanceof DialogsError) metrics.putOff.inc({ code: error.code })
    else fault('stream', error)
  }
  const streaming = {
    hub,
    limits,
    rights: gate?.rights,
    connections,
    sendError,
    isStopping: () => isStopping,
    ...config.live,
    onEnd,
    onPutOff
  }
  await fastify.register(async streams => {
    gate?.guard(streams, 'streams')
    await streams.register(eventRoutes, streaming)
    await streams.register(personEventRoutes, { people, ...streaming })
  })
  const describe = async (): Promise<ClusterDescription> => await describeCluster(cluster)
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
