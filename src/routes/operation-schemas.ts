// What the answers for operators consist of: blocks, the cluster, health.
import { Type, type Static } from '@sinclair/typebox'
import { Next, UsersQuery } from './member-schemas.js'

export const BlocksQuery = Type.Object(
  {
    after: UsersQuery.properties.after,
    limit: Type.Optional(
      Type.String({ description: 'how many blocks are looked at, 1 to 1000, default 50' })
    )
  },
  { additionalProperties: false }
)

const TopologyVersion = Type.String({
  description: 'names who owns which slot: answers with the same version agree about it'
})

export const BlocksAnswer = Type.Object({
  room: Type.String(),
  users: Type.Integer({ description: 'users in the room; all pages together have their blocks' }),
  blockLength: Type.Integer({ description: 'how many messages a block may have' }),
  blocks: Type.Array(
    Type.Object({
      key: Type.String(),
      slot: Type.Integer(),
      shard: Type.Union([Type.String(), Type.Null()]),
      messages: Type.Integer()
    }),
    {
      description:
        'the blocks looked at that are not empty; may be none even if there is a next page'
    }
  ),
  version: TopologyVersion,
  next: Next
})

const NodeAnswer = Type.Object({ id: Type.String(), address: Type.String(), isUp: Type.Boolean() })

const Figure = (description: string) =>
  Type.Union([Type.Integer(), Type.Null()], { description: `${description}; null: unknown` })

export const ClusterAnswer = Type.Object({
  version: TopologyVersion,
  shards: Type.Array(
    Type.Object({
      id: Type.String({ description: "the master's node id" }),
      master: NodeAnswer,
      replicas: Type.Array(NodeAnswer),
      slots: Type.Array(Type.Tuple([Type.Integer(), Type.Integer()]), {
        description: 'ranges, first and last inclusive'
      }),
      slotCount: Type.Integer(),
      keys: Figure('keys of the master'),
      memoryBytes: Figure('memory of the master'),
      operationsPerSecond: Figure('commands of all clients'),
      entriesTotal: Figure('entries added to streams since the master was started'),
      replicaLagBytes: Figure('how far the slowest replica is behind')
    })
  ),
  moving: Type.Array(
    Type.Object({
      slot: Type.Integer(),
      from: Type.String({ description: "the master's host:port" }),
      to: Type.String()
    }),
    { description: 'slots on their way, where they move key by key' }
  )
})
export type ClusterAnswer = Static<typeof ClusterAnswer>

export const HealthAnswer = Type.Object({
  status: Type.Literal('ok'),
  shards: Type.Optional(Type.Integer()),
  workers: Type.Optional(Type.Object({ running: Type.Integer(), wanted: Type.Integer() }))
})
