// Decides which node answers a command on keys: Redis' getNodeByQuery (cluster.c), as a function of
// one node's view and keys.
import { slotOf } from '../../src/redis/slots.js'
import { type ClusterView } from './cluster-view.js'
import { ReplyError } from './resp.js'

export type Question = {
  readonly view: ClusterView
  readonly isDown: boolean
  readonly isAsking: boolean
  readonly has: (key: string) => boolean
  /** Channels need not exist. */
  readonly areChannels: boolean
}

/**
 * The error that the node answers instead of carrying the command out; undefined if it carries it
 * out.
 */
export function redirection(
  keys: readonly string[],
  { view, isDown, isAsking, has, areChannels }: Question
): ReplyError | undefined {
  const [first] = keys
  if (first === undefined) return undefined
  const slot = slotOf(first)
  if (keys.some(key => slotOf(key) !== slot)) {
    return new ReplyError("CROSSSLOT Keys in request don't hash to the same slot")
  }
  const owner = view.owners[slot]
  if (owner === undefined) return new ReplyError('CLUSTERDOWN Hash slot not served')
  if (isDown) return new ReplyError('CLUSTERDOWN The cluster is down')
  const missing = areChannels ? 0 : keys.filter(key => !has(key)).length
  const target = view.migrating.get(slot)
  if (owner === view.myId) {
    if (target === undefined || missing === 0) return undefined
    if (missing < keys.length) {
      return new ReplyError('TRYAGAIN Multiple keys request during rehashing of slot')
    }
    const { host, port } = view.peer(target)
    return new ReplyError(`ASK ${slot} ${host}:${port}`)
  }
  if (isAsking && view.importing.has(slot)) {
    return keys.length > 1 && missing > 0
      ? new ReplyError('TRYAGAIN Multiple keys request during rehashing of slot')
      : undefined
  }
  const { host, port } = view.peer(owner)
  return new ReplyError(`MOVED ${slot} ${host}:${port}`)
}
