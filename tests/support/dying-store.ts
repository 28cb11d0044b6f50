// The store of a process that dies: it sends a given number of writes to Redis, and not one more.
// Every command that may change anything counts, so trying each number tries a death at each await
// that matters: a death before or after a read leaves the same keys.
import { readConfig } from '../../src/config.js'
import { type Cluster } from '../../src/redis/cluster.js'
import { DIALOG } from '../../src/store/dialog-scripts.js'
import { Store, type StoreOptions } from '../../src/store/store.js'

const ignore = (): void => undefined

/** What the store asks with Cluster.command and changes nothing. Anything else counts. */
const READS = new Set([
  ...['EXISTS', 'GET', 'HEXISTS', 'HGET', 'HLEN', 'HMGET', 'HSCAN', 'PEXPIRETIME', 'XLEN'],
  ...['XRANGE', 'XREVRANGE', 'ZRANGE', 'ZREVRANGE', 'ZSCORE', `EVALSHA ${DIALOG.sha}`]
])

function isWrite(method: string | symbol, [, command]: readonly unknown[]): boolean {
  if (['write', 'acknowledged', 'unacknowledged'].includes(String(method))) return true
  if (method !== 'command') return false
  // Its second argument is the command, word by word.
  const [verb = '', script = ''] = command as readonly string[]
  return !READS.has(verb === 'EVALSHA' ? `${verb} ${script}` : verb)
}

/**
 * `hasDied` resolves when it would send one more write. The call that asked for that write never
 * gets an answer.
 */
export function dyingStore(
  cluster: Cluster,
  writes: number,
  options: Partial<StoreOptions> = {}
): { store: Store; hasDied: Promise<void> } {
  let left = writes
  let die = ignore
  const hasDied = new Promise<void>(resolve => {
    die = resolve
  })
  const mortal = new Proxy(cluster, {
    get(target, name) {
      // Whatever it is, it belongs to the cluster.
      const value = Reflect.get(target, name, target) as unknown
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        if (!isWrite(name, args) || left-- > 0) return Reflect.apply(value, target, args)
        die()
        return new Promise(ignore)
      }
    }
  }) satisfies Cluster
  const config = readConfig({})
  const store = new Store(mortal, {
    ...config.store,
    ...config.cluster,
    publish: ignore,
    onFault: ignore,
    ...options
  })
  return { store, hasDied }
}
