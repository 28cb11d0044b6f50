// What those who run the service look at: health, metrics, the cluster.
import { type FastifyInstance } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { DialogsError } from '../errors.js'
import { type Metrics } from '../metrics.js'
import { type Cluster } from '../redis/cluster.js'
import { describeShards } from '../redis/shards.js'
import { ClusterAnswer } from './schemas.js'

export type OperationRoutesOptions = { readonly cluster: Cluster, readonly metrics: Metrics, readonly isStopping: () => boolean }

export async function operationRoutes (fastify: FastifyInstance, { cluster, metrics, isStopping }: OperationRoutesOptions): Promise<void> {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()

  app.get('/health/live', { schema: { summary: 'The process runs' } }, () => ({ status: 'ok' }))

  app.get('/health/ready', { schema: { summary: 'The process takes work: Redis answers, and lets it do all that it needs' } }, async () => {
    if (isStopping()) throw new DialogsError('STOPPING', 'This process is stopping: use another.')
    const outage = await cluster.outage()
    if (outage !== undefined) throw outage
    return { status: 'ok', shards: cluster.topology.masters.length }
  })

  app.get('/metrics', { schema: { summary: 'Prometheus metrics' } }, async (_request, reply) => {
    reply.header('content-type', metrics.registry.contentType)
    return reply.send(await metrics.registry.metrics())
  })

  app.get('/cluster', { schema: { summary: 'The shards of the cluster', response: { 200: ClusterAnswer } } }, async () => {
    return { shards: await describeShards(cluster) }
  })

  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
}
