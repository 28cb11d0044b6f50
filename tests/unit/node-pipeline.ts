// How commands of one node are queued while no replica acknowledges.
import t from 'tap'
import { DialogsError } from '../../src/errors.js'
import { type Link } from '../../src/redis/link.js'
import { NodePipeline, type Written } from '../../src/redis/node-pipeline.js'
import { type Replication } from '../../src/redis/replication.js'

const REFUSED = new DialogsError('NOT_REPLICATED', 'no replica')

/** A node that answers at once, and whose replication refuses all but the first tries. */
function node(tries: number): {
  readonly pipeline: NodePipeline
  readonly sent: string[]
  readonly acknowledge: () => void
} {
  const sent: string[] = []
  let left = tries
  const acknowledged = withResolvers()
  const connection = {
    dispatch(args: readonly string[], receiver: { received: (reply: string) => void }): void {
      sent.push(args[0] ?? '')
      receiver.received('OK')
    }
  }
  const replication = {
    get refusal(): DialogsError | undefined {
      return left-- > 0 ? undefined : REFUSED
    },
    acknowledged: () => acknowledged.promise
  }
  // The classes have private parts, which a stand-in cannot have.
  const link = { current: connection } as unknown as Link
  return {
    pipeline: new NodePipeline([link], replication as unknown as Replication),
    sent,
    acknowledge: acknowledged.resolve
  }
}

function withResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let end = (): void => undefined
  const promise = new Promise<void>(resolve => {
    end = resolve
  })
  return { promise, resolve: end }
}

const send = (pipeline: NodePipeline, name: string, needsReplica: boolean): Promise<Written> =>
  new Promise((resolve, reject) => {
    pipeline.send([name], false, needsReplica, resolve, reject)
  })

t.test('a command that waits for no replica does not use up the try of one that does', async t => {
  const { pipeline, sent, acknowledge } = node(1)
  await send(pipeline, 'SPUBLISH', false)
  await send(pipeline, 'SPUBLISH', false)
  const { replicated } = await send(pipeline, 'SET', true)
  acknowledge()
  await replicated
  await t.rejects(send(pipeline, 'SET', true), { code: 'NOT_REPLICATED' })
  await send(pipeline, 'SPUBLISH', false)
  t.same(sent, ['SPUBLISH', 'SPUBLISH', 'SET', 'SPUBLISH'])
})

t.test('a refusal fails the queued commands that wait for a replica, and no others', async t => {
  const { pipeline, sent, acknowledge } = node(2)
  const first = await send(pipeline, 'SET', true)
  // From the end of the turn on, the only link waits for the replica.
  await new Promise(resolve => setImmediate(resolve))
  const refused = send(pipeline, 'INCR', true)
  const told = send(pipeline, 'SPUBLISH', false)
  t.same(sent, ['SET'], 'the others are queued')
  acknowledge()
  await Promise.all([first.replicated, t.rejects(refused, { code: 'NOT_REPLICATED' }), told])
  t.same(sent, ['SET', 'SPUBLISH'])
})
