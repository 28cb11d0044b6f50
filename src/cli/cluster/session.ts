// What one run of the cluster command works with: the cluster it found, the person at the terminal,
// and the signals that stop it. It asks before it changes anything, and keeps others from changing
// the cluster at the same time.
import { createInterface } from 'node:readline/promises'
import { type Config } from '../../config.js'
import { redisTarget } from '../../config/redis-target.js'
import { RunningCluster } from '../../embedded/running.js'
import { addressKey } from '../../redis/address.js'
import { count, Progress } from '../progress.js'
import { Admin } from './admin.js'
import { type ClusterMap } from './map.js'
import { type MoveOptions, type MoveResult } from './mover.js'
import { Interrupted, Refusal } from './refusal.js'
import { remindAll } from './reminders.js'

const SETTLE_MS_MAX = 5000

export type SessionOptions = {
  readonly isYes: boolean
  readonly speed: number
  readonly isByKeys: boolean
}

export class Session {
  readonly admin: Admin
  readonly config: Config
  /** The embedded cluster; undefined with REDIS_NODES. */
  readonly embedded: RunningCluster | undefined
  readonly #options: SessionOptions
  readonly #abort = new AbortController()

  private constructor(
    admin: Admin,
    config: Config,
    embedded: RunningCluster | undefined,
    options: SessionOptions
  ) {
    this.admin = admin
    this.config = config
    this.embedded = embedded
    this.#options = options
  }

  /** @throws Refusal when there is no cluster, or none that runs */
  static async open(config: Config, options: SessionOptions): Promise<Session> {
    if (config.redis !== undefined) {
      return new Session(await Admin.connect(config.redis), config, undefined, options)
    }
    const embedded = RunningCluster.find(config.embedded.dataDir, config.embedded.nodeTimeoutMs)
    if (embedded === undefined) {
      throw new Refusal(
        `There is no embedded cluster in ${config.embedded.dataDir}: start the service first (npm start), or set REDIS_NODES to a cluster of your own.`
      )
    }
    const { addresses } = embedded
    if (addresses.length === 0) {
      throw new Refusal(
        `The embedded cluster in ${config.embedded.dataDir} does not run: start the service first (npm start).`
      )
    }
    const admin = await Admin.connect(
      redisTarget(addresses.map(address => `redis://${addressKey(address)}`))
    )
    return new Session(admin, config, embedded, options)
  }

  close(): void {
    this.admin.close()
  }

  say(line = ''): void {
    process.stdout.write(`${line}\n`)
  }

  /**
   * Resolves with the cluster once it is healthy and nobody else is changing it.
   * @throws Refusal otherwise, with everything that is wrong
   */
  async ready(): Promise<ClusterMap> {
    let map = await this.#untilHealthy()
    if (map.disputed.length > 0 && (await remindAll(this.admin, map))) {
      map = await this.#untilHealthy()
    }
    if (map.faults.length > 0) {
      throw new Refusal(
        `The cluster is not healthy, so nothing was changed:\n${map.faults.map(fault => `  ${fault}`).join('\n')}`
      )
    }
    await this.admin.claim(map)
    for (const warning of map.warnings) this.say(`Note: ${warning}`)
    return map
  }

  // Right after a failover the nodes do not agree yet.
  async #untilHealthy(): Promise<ClusterMap> {
    return await this.admin
      .until(
        ({ faults }) => (faults.length > 0 ? 'the cluster is healthy' : undefined),
        SETTLE_MS_MAX
      )
      .catch(() => this.admin.look())
  }

  /**
   * Asks whether to continue.
   * @throws Refusal if the answer is no, or if nobody can be asked; Interrupted on Ctrl-C
   */
  async confirm(question: string): Promise<void> {
    if (this.#options.isYes) return
    if (!process.stdin.isTTY) {
      throw new Refusal(
        'Nothing was changed: there is no terminal to ask on. Add --yes to continue without being asked.'
      )
    }
    const terminal = createInterface({ input: process.stdin, output: process.stdout })
    try {
      const answer = await new Promise<string>((resolve, reject) => {
        terminal
          .on('SIGINT', () => {
            reject(new Interrupted('\nNothing was changed.'))
          })
          .on('close', () => {
            resolve('')
          })
        terminal.question(`${question} [y/N] `).then(resolve, reject)
      })
      if (!/^y(es)?$/i.test(answer.trim())) throw new Refusal('Nothing was changed.')
    } finally {
      terminal.close()
    }
  }

  /**
   * Runs something that moves slots, with a progress bar, until it is done or a signal tells it to
   * stop after the current slots.
   */
  async moving<T extends MoveResult | undefined>(
    slots: number,
    run: (options: MoveOptions) => Promise<T>
  ): Promise<T> {
    let state = { slotsDone: 0, keysDone: 0, keysTotal: 0 }
    const progress = new Progress({
      total: slots,
      // The keys are shown as part of the unit, and change.
      get unit() {
        return `slots, ${count(state.keysDone)} of ${count(Math.max(state.keysDone, state.keysTotal))} keys`
      }
    })
    const stop = (): void => {
      if (this.#abort.signal.aborted) process.exit(130)
      this.#abort.abort()
      progress.print(
        'Finishing the current slots. Press Ctrl-C again to stop at once: the next command repairs what is left half-moved.'
      )
    }
    process.on('SIGINT', stop).on('SIGTERM', stop)
    try {
      return await run({
        signal: this.#abort.signal,
        speed: this.#options.speed,
        isByKeys: this.#options.isByKeys,
        onProgress: now => {
          state = now
          progress.update(now.slotsDone, now.retries)
        },
        report: line => {
          progress.print(line)
        }
      })
    } finally {
      process.off('SIGINT', stop).off('SIGTERM', stop)
      progress.stop()
    }
  }

  get isInterrupted(): boolean {
    return this.#abort.signal.aborted
  }
}
