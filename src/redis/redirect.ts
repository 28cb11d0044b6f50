// What an error says about where to go next. One table for every answer that a cluster gives while it changes.
// Pure: decides, but neither waits nor sends.
import { DialogsError, messageOf } from '../errors.js'
import { type Address } from './address.js'
import { ConnectionLost, isRedisError } from './connection.js'
import { parseAddress } from './topology.js'

export type Verdict =
  /** The slot has moved for good: go there at once, and remember. */
  | { readonly kind: 'moved', readonly slot: number, readonly to: Address }
  /** The slot is moving and the key is not here (any more): go there once, behind an ASKING. */
  | { readonly kind: 'ask', readonly to: Address }
  /** The node does not know the script (yet): send its text. */
  | { readonly kind: 'no-script' }
  /**
   * The same again in a moment; `mayHaveMoved` says that the topology should be looked at, `isHalfMoved` that the command's keys are on
   * both sides of a moving slot.
   */
  | { readonly kind: 'again', readonly mayHaveMoved: boolean, readonly isHalfMoved: boolean }
  | { readonly kind: 'give-up', readonly error: unknown }

/** Error words of Redis and Redis Cluster: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ */
export function judge (error: unknown, askedHost: string): Verdict {
  if (error instanceof ConnectionLost) return { kind: 'again', mayHaveMoved: true, isHalfMoved: false }
  if (!isRedisError(error)) return { kind: 'give-up', error }
  const [word, slot, where] = error.message.split(' ')
  switch (word) {
    case 'MOVED':
    case 'ASK': {
      const to = parseAddress(where ?? '', askedHost)
      if (to === undefined) return { kind: 'again', mayHaveMoved: true, isHalfMoved: false }
      return word === 'MOVED' ? { kind: 'moved', slot: Number(slot), to } : { kind: 'ask', to }
    }
    case 'NOSCRIPT':
      return { kind: 'no-script' }
    case 'TRYAGAIN':
      return { kind: 'again', mayHaveMoved: false, isHalfMoved: true }
    case 'BUSY':
      return { kind: 'again', mayHaveMoved: false, isHalfMoved: false }
    case 'LOADING': // a master that was restarted may have been replaced meanwhile
    case 'CLUSTERDOWN':
    case 'READONLY':
    case 'MASTERDOWN':
    case 'UNBLOCKED':
    case 'NOREPLICAS':
      return { kind: 'again', mayHaveMoved: true, isHalfMoved: false }
    case 'OOM':
      return { kind: 'give-up', error: new DialogsError('STORE_FULL', 'The store is full: give Redis more memory or another shard.', { cause: error }) }
    case 'MISCONF':
      return { kind: 'give-up', error: new DialogsError('STORE_READ_ONLY', 'The store does not take writes: Redis cannot persist its data (see its log).', { cause: error }) }
    case 'NOAUTH':
    case 'NOPERM':
    case 'WRONGPASS':
      return { kind: 'give-up', error: new DialogsError('STORE_DENIED', 'Redis denies the service: check user, password and permissions in REDIS_NODES.', { cause: error }) }
    default:
      // What a node that is full of clients answers instead of a greeting.
      if (error.message.startsWith('ERR max number of clients')) return { kind: 'again', mayHaveMoved: false, isHalfMoved: false }
      // A script that met one of the above inside says so in the middle of its message.
      if (/\b(CROSSSLOT|non local key|CLUSTERDOWN)\b/.test(messageOf(error))) return { kind: 'again', mayHaveMoved: true, isHalfMoved: false }
      return { kind: 'give-up', error }
  }
}
