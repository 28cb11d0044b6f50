// Routes for operators: health, metrics, the description of the interface.
import { type FastifyInstance } from 'fastify'
import { Type } from '@sinclair/typebox'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { Shared } from '../shared.js'
import { sendJson } from './answers.js'
import { checkAdmin } from './rights.js'
import { HealthAnswer } from './operation-schemas.js'
import { ErrorAnswer } from './schemas.js'

/** Processes that serve one port together (WORKERS). */
export type Team = {
  /** The metrics of all processes, added up, in Prometheus' text format. */
  readonly metricsText: () => Promise<string>
  /** How many processes serve, and how many should. */
  readonly fleet: () => { readonly running: number; readonly wanted: number }
}

export type HealthRoutesOptions = {
  readonly cluster: Cluster
  /** The answer of /openapi.json. */
  readonly describeApi: () => unknown
  readonly workers: Team['fleet'] | undefined
  readonly isStopping: () => boolean
}

export type OperationRoutesOptions = {
  readonly metricsText: () => Promise<string>
  readonly metricsType: string
}

/** For anybody: load balancers, and readers of the description. */
export async function healthRoutes(
  fastify: FastifyInstance,
  { cluster, describeApi, workers, isStopping }: HealthRoutesOptions
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()

  app.get(
    '/health/live',
    {
      config: { contract: { id: 'isAlive', tag: 'operations', isPublic: true } },
      schema: { summary: 'The process runs', response: { 200: HealthAnswer } }
    },
    () => ({ status: 'ok' as const })
  )

  app.get(
    '/health/ready',
    {
      config: { contract: { id: 'isReady', tag: 'operations', isPublic: true } },
      schema: {
        summary: 'The process takes work: Redis answers, and permits everything that it needs',
        response: { 200: HealthAnswer }
      }
    },
    async () => {
      if (isStopping()) throw new DialogsError('STOPPING', 'This process is stopping: use another.')
      const outage = await cluster.outage()
      if (outage !== undefined) throw outage
      return {
        status: 'ok' as const,
        shards: cluster.topology.masters.length,
        ...(workers === undefined ? {} : { workers: workers() })
      }
    }
  )

  let description: Buffer | undefined
  app.get('/openapi.json', (_request, reply) => {
    // Encoding 60 KB anew for each request would hold up others.
    description ??= Buffer.from(JSON.stringify(describeApi()))
    return sendJson(reply, description)
  })
}

/** For those who run the service. */
export async function operationRoutes(
  fastify: FastifyInstance,
  { metricsText, metricsType }: OperationRoutesOptions
): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()
  // Collecting them takes milliseconds, so requests at the same time share it.
  const reads = new Shared<string>()

  app.get(
    '/metrics',
    {
      config: { contract: { id: 'readMetrics', tag: 'operations', mediaType: 'text/plain' } },
      schema: {
        summary: 'Prometheus metrics',
        response: { 200: Type.String(), '5xx': ErrorAnswer }
      }
    },
    async (request, reply) => {
      checkAdmin(request.caller)
      reply.header('content-type', metricsType)
      return reply.send(await reads.read('', metricsText))
    }
  )
}
