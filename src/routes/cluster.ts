// The cluster: as JSON, as a stream of changes, and as a picture for people. GET /cluster sends a
// browser to the picture, and everybody else JSON.
import { type FastifyInstance, type FastifyRequest } from 'fastify'
import { type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { type ClusterWatch } from '../live/cluster-watch.js'
import { type ClusterDescription } from '../redis/shards.js'
import { type OperationContract } from './contract.js'
import { API_HEADERS, type SendError } from './errors.js'
import { serveFiles } from './files.js'
import { openStream, type OpenStreamOptions, sendHeadOnly, streamErrors } from './open-stream.js'
import { ANYBODY } from '../identity/caller.js'
import { PAGE_POLICY } from './page.js'
import { checkAdmin } from './rights.js'
import { ClusterAnswer } from './operation-schemas.js'
import { ErrorAnswer, ERRORS } from './schemas.js'

export type ClusterRoutesOptions = OpenStreamOptions & {
  readonly sendError: SendError
  readonly describe: () => Promise<ClusterDescription>
  readonly watch: ClusterWatch
  /** Makes a scope's routes ask for a token; the files of the picture ask for none. */
  readonly guard: (scope: FastifyInstance) => void
}

const SERVED = /^\/(?:cluster\.(?:html|css|js))?$/

/** Tells the page that it may let Lady Gaga write, because no token is needed. */
const ANYBODY_WRITES = 'event: anybody-writes\ndata: {}\n\n'

export async function clusterRoutes(
  fastify: FastifyInstance,
  options: ClusterRoutesOptions
): Promise<void> {
  await fastify.register(async scope => {
    scope.addHook('onRequest', (request, reply, done) => {
      if (asksForPicture(request)) {
        const query = /\?.*/.exec(request.url)?.[0] ?? ''
        void reply.headers(API_HEADERS).header('vary', 'accept').redirect(`cluster/${query}`)
      } else done()
    })
    options.guard(scope)
    operatorRoutes(scope, options)
  })
  await serveFiles(fastify, {
    prefix: '/cluster/',
    served: SERVED,
    policy: PAGE_POLICY,
    index: 'cluster.html'
  })
}

/** A browser that was sent to /cluster; not the page's own requests for data. */
const asksForPicture = ({ url, headers }: FastifyRequest): boolean =>
  /^\/cluster(?:\?|$)/.test(url) && headers.accept?.includes('text/html') === true

function operatorRoutes(fastify: FastifyInstance, options: ClusterRoutesOptions): void {
  const app = fastify.withTypeProvider<TypeBoxTypeProvider>()
  const { describe, watch } = options

  app.get(
    '/cluster',
    {
      config: { contract: { id: 'readCluster', tag: 'operations', hasPage: true } },
      schema: {
        summary: 'The shards of the cluster',
        response: { 200: ClusterAnswer, '5xx': ErrorAnswer }
      }
    },
    async (request, reply) => {
      reply.headers(API_HEADERS).header('vary', 'accept')
      checkAdmin(request.caller)
      return await describe()
    }
  )

  const events = {
    exposeHeadRoute: false,
    errorHandler: streamErrors(options),
    config: {
      contract: {
        id: 'followCluster',
        tag: 'operations',
        mediaType: 'text/event-stream'
      } satisfies OperationContract
    },
    schema: {
      summary: 'The cluster as it changes, as server-sent events',
      response: ERRORS
    }
  }
  app.get('/cluster/events', events, (request, reply) => {
    checkAdmin(request.caller)
    const { stream, leaveOnEnd } = openStream(request, reply, [], options)
    if (request.caller === ANYBODY) stream.write(ANYBODY_WRITES)
    watch.add(stream)
    leaveOnEnd(() => {
      watch.remove(stream)
    })
  })
  app.head('/cluster/events', events, (request, reply) => {
    checkAdmin(request.caller)
    sendHeadOnly(reply)
  })
}
