// The store of a process that dies: it sends a given number of writes to Redis, and not one more.
import { readConfig } from '../../src/config.js'
import { type Cluster } from '../../src/redis/cluster.js'
import { Store, type StoreOptions } from '../../src/store/store.js'

const ignore = (): void => undefined

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
        const isWrite = name === 'write' || name === 'unacknowledged'
        if (!isWrite || left-- > 0) return Reflect.apply(value, target, args)
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
