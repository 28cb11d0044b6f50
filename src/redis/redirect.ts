// What to do after an error from Redis: one table for everything that a server may answer.
// Invariant: a permanent refusal becomes a DialogsError with a stable code, so no raw Redis error
// reaches a route. This only decides; slot-sender.ts waits and sends.
import { DialogsError } from '../errors.js'
import { type Address } from './address.js'
import { ConnectionLost, isRedisError } from './connection.js'
import { parseAddress } from './topology.js'

export type NextStep =
  /** The slot has moved for good: go there at once, and remember it. */
  | { readonly kind: 'moved'; readonly slot: number; readonly to: Address }
  /**
   * The slot is moving and its old owner does not have the key: send ASKING and the command to the
   * new one, once.
   */
  | { readonly kind: 'ask'; readonly to: Address }
  /** The node does not know the script: send its text. */
  | { readonly kind: 'no-script' }
  /**
   * The slot is moving, and the command's keys are on both nodes: send a version with a single key
   * if there is one, otherwise wait.
   */
  | { readonly kind: 'half-moved' }
  /** Try the same again in a moment. `mayHaveMoved`: look at the topology first. */
  | { readonly kind: 'again'; readonly mayHaveMoved: boolean }
  | { readonly kind: 'give-up'; readonly error: unknown }

/**
 * Decides by the first word of the error. The words are those of Redis and Redis Cluster:
 * https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
 */
export function nextStep(error: unknown, askedHost: string): NextStep {
  if (error instanceof ConnectionLost) return { kind: 'again', mayHaveMoved: true }
  if (!isRedisError(error)) return { kind: 'give-up', error }
  const [word, slot, where] = error.message.split(' ')
  switch (word) {
    case 'MOVED':
    case 'ASK': {
      const to = parseAddress(where ?? '', askedHost)
      if (to === undefined) return { kind: 'again', mayHaveMoved: true }
      return word === 'MOVED' ? { kind: 'moved', slot: Number(slot), to } : { kind: 'ask', to }
    }
    case 'NOSCRIPT':
      return { kind: 'no-script' }
    case 'TRYAGAIN':
      return { kind: 'half-moved' }
    case 'BUSY':
      return { kind: 'again', mayHaveMoved: false }
    case 'LOADING': // a master that was restarted may have been replaced meanwhile
    case 'CLUSTERDOWN':
    case 'READONLY':
    case 'MASTERDOWN':
    case 'UNBLOCKED':
    case 'NOREPLICAS':
      return { kind: 'again', mayHaveMoved: true }
    case 'OOM':
      return {
        kind: 'give-up',
        error: new DialogsError(
          'STORE_FULL',
          'The store is full: give Redis more memory or another shard.',
          { cause: error }
        )
      }
    case 'MISCONF':
      return {
        kind: 'give-up',
        error: new DialogsError(
          'STORE_READ_ONLY',
          'The store does not take writes: Redis cannot persist its data (see its log).',
          { cause: error }
        )
      }
    case 'NOAUTH':
    case 'WRONGPASS':
      return {
        kind: 'give-up',
        error: new DialogsError(
          'STORE_DENIED',
          'Redis denies the service: check user and password in REDIS_NODES.',
          { cause: error }
        )
      }
    case 'NOPERM':
      return { kind: 'give-up', error: denied(error) }
    default:
      // A node with too many clients answers this instead of a greeting.
      if (error.message.startsWith('ERR max number of clients')) {
        return { kind: 'again', mayHaveMoved: false }
      }
      // A script that met one of the errors above has its word in the middle of the message.
      if (/\b(CROSSSLOT|non local key|CLUSTERDOWN)\b/.test(error.message)) {
        return { kind: 'again', mayHaveMoved: true }
      }
      if (/\bNOPERM\b|ACL failure|executing the script can't/.test(error.message)) {
        return { kind: 'give-up', error: denied(error) }
      }
      if (/unknown (redis |sub)?command/i.test(error.message)) {
        return { kind: 'give-up', error: unknownCommand(error) }
      }
      return {
        kind: 'give-up',
        error: new DialogsError(
          'STORE_REFUSED',
          "Redis refused a command of the service: the service's log says which.",
          { cause: error }
        )
      }
  }
}

/** The error that a caller gets for a refusal, whatever Redis called it. */
export function refusalOf(error: unknown): unknown {
  const step = nextStep(error, '')
  return step.kind === 'give-up' ? step.error : error
}

/** Whether only the operator of Redis can end a refusal, so that repeating does not help. */
export const isForGood = (error: unknown): error is DialogsError =>
  error instanceof DialogsError &&
  ['STORE_DENIED', 'STORE_UNSUITABLE', 'STORE_LOST'].includes(error.code)

function denied(error: Error): DialogsError {
  const command = /'([\w|]+)' command/.exec(error.message)?.[1]
  const what =
    command === undefined
      ? /channel/.test(error.message)
        ? 'its channels'
        : 'its keys or commands'
      : `the command ${command.toUpperCase()}`
  return new DialogsError(
    'STORE_DENIED',
    `Redis denies the service ${what}: grant what compose/README.md lists under "Redis permissions".`,
    { cause: error }
  )
}

function unknownCommand(error: Error): DialogsError {
  const command = /command '([^']+)'/i.exec(error.message)?.[1]
  return new DialogsError(
    'STORE_UNSUITABLE',
    `Redis does not know ${command === undefined ? 'a command of the service' : `the command ${command}`}: it is renamed, disabled or too old (messages need 7.0).`,
    { cause: error }
  )
}
