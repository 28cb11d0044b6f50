// What those who run the service look at: health, metrics, the cluster.
import { type FastifyInstance } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { type Cluster } from '../redis/cluster.js'
import { describeShards } from '../redis/shards.js'
import { ClusterAnswer } from './schemas.js'

/** Processes that serve one port together (WORKERS). */
export type Team = {
  /** The metrics of all of them, added up, as Prometheus reads them. */
  readonly metricsText: () => Promise<string>
  /** How many serve, and how many should. */
  readonly fleet: () => { readonly running: number, readonly wanted: number }
}

export type OperationRoutesOptions = {
  readonly cluster: Cluster
  readonly metricsText: () => Promise<string>
  readonly metricsType: string
  readonly workers: Team['fleet'] | undefined
  readonly isStopping: () => boolean
}

export async function operationRoutes (fastify: FastifyInstance, { cluster, metricsText, metricsType, workers, isStopping }: OperationRoutesOptions): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()

  app.get('/health/live', { schema: { summary: 'The process runs' } }, () => ({ status: 'ok' }))

  app.get('/health/ready', { schema: { summary: 'The process takes work: Redis answers, and lets it do all that it needs' } }, async () => {
    if (isStopping()) throw new DialogsError('STOPPING', 'This process is stopping: use another.')
    const outage = await cluster.outage()
    if (outage !== undefined) throw outage
    return { status: 'ok', shards: cluster.topology.masters.length, ...(workers === undefined ? {} : { workers: workers() }) }
  })

  app.get('/metrics', { schema: { summary: 'Prometheus metrics' } }, async (_request, reply) => {
    reply.header('content-type', metricsType)
    return reply.send(await metricsText())
  })

  app.get('/cluster', { schema: { summary: 'The shards of the cluster', response: { 200: ClusterAnswer } } }, async () => {
    return { shards: await describeShards(cluster) }
  })

  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
}
