// One instance of the service: the service below its routes, on virtual time and the simulated
// network. It can be killed at any moment, and it can be stopped gracefully.
import { DialogsError } from '../../src/errors.js'
import { CombinedCursor, CombinedOutput, SingleOutput } from '../../src/live/output.js'
import { type JoinRequest } from '../../src/live/reader.js'
import { Stream } from '../../src/live/stream.js'
import { Cluster } from '../../src/redis/cluster.js'
import { Service } from '../../src/service.js'
import { REQUIREMENTS } from '../../src/store/requirements.js'
import { type ReaderSocket } from './reader-socket.js'
import { newOwner, type Owner } from './virtual-time.js'
import { type World } from './world.js'

/** How long until a service that could not start is started again. */
const RESTART_MS = 500
const DRAIN_MS = 300
const CLAIM_DEADLINES = 2
const MIB = 1024 * 1024

export class Instance {
  readonly name: string
  owner: Owner
  service: Service | undefined
  isStopping = false
  /** Requests that it has accepted but not answered yet. */
  requests = 0
  readonly #world: World

  constructor(world: World, name: string) {
    this.#world = world
    this.name = name
    this.owner = newOwner(name)
  }

  start(): void {
    const { owner } = this
    this.#world.time.after(
      0,
      () => {
        this.#build().then(
          service => {
            this.service = service
            this.#world.trace.note(`${this.name} is ready`)
          },
          error => {
            this.#world.trace.note(
              `${this.name} cannot start: ${error instanceof DialogsError ? error.code : String(error)}`
            )
            if (!(error instanceof DialogsError)) {
              this.#world.oracle.violation(`${this.name} cannot start: ${String(error)}`)
            }
            this.start()
          }
        )
      },
      owner
    )
  }

  /** Ends the process abruptly. Another one starts after a while. */
  kill(ms: number): void {
    if (this.owner.isDead) return
    this.#world.trace.note(`${this.name} is killed`)
    this.#end()
    this.#world.time.after(
      ms,
      () => {
        this.#renew()
      },
      this.#world.owner
    )
  }

  /** Stops as app.ts does: streams end, and everything that was answered is published. */
  stop(): void {
    const { service, owner } = this
    if (service === undefined || this.isStopping) return
    this.isStopping = true
    this.#world.trace.note(`${this.name} stops`)
    this.#world.time.after(
      0,
      () => {
        void (async () => {
          await service.hub.drain(DRAIN_MS)
          while (this.requests > 0) {
            await new Promise<void>(resolve => {
              this.#world.time.after(5, resolve)
            })
          }
          await service.stop()
          this.#world.trace.note(`${this.name} has stopped`)
          this.#end()
          this.#world.time.after(
            RESTART_MS,
            () => {
              this.#renew()
            },
            this.#world.owner
          )
        })()
      },
      owner
    )
  }

  /**
   * Acts as a request for `/rooms/:room/events` or `/events`. Undefined if the instance accepts
   * none now.
   */
  openStream(
    socket: ReaderSocket,
    rooms: readonly string[],
    cursors: readonly string[],
    last: number | undefined,
    parse: (cursor: string) => JoinRequest['after']
  ): Stream | undefined {
    return this.#open(socket, ({ hub }, stream) => {
      const combined = new CombinedCursor(rooms.map((_, index) => cursors[index] ?? ''))
      return rooms.map((room, index) => {
        const cursor = cursors[index] ?? ''
        const output =
          rooms.length === 1
            ? new SingleOutput(stream)
            : new CombinedOutput(stream, combined, index)
        return hub.join(room, output, { after: cursor === '' ? undefined : parse(cursor), last })
      })
    })
  }

  /** Acts as a request for `/users/:user/events`. Undefined if the instance accepts none now. */
  openPersonStream(socket: ReaderSocket, user: string, lastId: string): Stream | undefined {
    return this.#open(socket, ({ people }, stream) => [
      people.join(user, stream, lastId === '' ? undefined : Number(lastId))
    ])
  }

  #open(
    socket: ReaderSocket,
    join: (service: Service, stream: Stream) => ReadonlyArray<() => void>
  ): Stream | undefined {
    const { service } = this
    if (service === undefined || this.isStopping) return undefined
    const { hub } = service
    const { socketBytesMax } = this.#world.plan.service
    let leaving: ReadonlyArray<() => void> = []
    const stream: Stream = new Stream(
      socket.asNodes,
      { bytesMax: socketBytesMax, retryMs: 100 },
      () => {
        hub.removeStream(stream)
        for (const leave of leaving) leave()
      }
    )
    hub.addStream(stream)
    stream.write('retry: 100\n\n')
    leaving = join(service, stream)
    return stream
  }

  #end(): void {
    this.owner.isDead = true
    this.service = undefined
    this.isStopping = false
    this.requests = 0
    for (const connection of [...this.#world.network.connections]) {
      if (connection.client === this.owner) connection.break()
    }
    this.#world.onInstanceEnd(this)
  }

  #renew(): void {
    const { clockMs } = this.owner
    this.owner = newOwner(this.name)
    this.owner.clockMs = clockMs
    this.start()
  }

  async #build(): Promise<Service> {
    const { plan, nodes, oracle } = this.#world
    const settings = plan.service
    const connection = {
      tls: false,
      tlsCa: undefined,
      username: undefined,
      password: undefined,
      connectTimeoutMs: settings.connectTimeoutMs,
      commandTimeoutMs: settings.commandTimeoutMs
    }
    const cluster = await Cluster.connect(
      {
        ...connection,
        seeds: nodes.map(({ host, port }) => ({ host, port })),
        addressMap: new Map(),
        storeDeadlineMs: settings.storeDeadlineMs,
        topologyRefreshMs: 5000,
        replicaAcks: 1,
        commandConnections: 1,
        writeConnections: settings.writeConnections,
        ...(settings.checksRequirements ? { requirements: REQUIREMENTS } : {})
      },
      {
        retried: () => undefined,
        degraded: (node, isDegraded) => {
          this.#world.noteDegraded(this.name, node, isDegraded)
          this.#world.trace.note(
            `${this.name}: ${node} ${isDegraded ? 'goes on without a replica' : 'has a replica again'}`
          )
        }
      }
    )
    const service = new Service(
      cluster,
      connection,
      {
        store: {
          ...settings,
          queueBytesMax: MIB,
          idempotencyTtlS: 86400,
          retentionDays: plan.retention?.days ?? 0,
          retentionDaysByPrefix: [],
          // Shorter than in production, so that an abandoned deletion is found within a run.
          deletionClaimMs: CLAIM_DEADLINES * settings.storeDeadlineMs
        },
        live: {
          ...settings,
          ringsBytesMax: MIB,
          pageLengthMax: 512,
          pageBytesMax: MIB,
          pagesBytesMax: 10_000,
          pageReadsMax: 2
        }
      },
      {
        subscriptionLost: () => undefined,
        doubted: channels => {
          this.#world.trace.note(
            `${this.name}: ${channels === 'all' ? 'all channels are' : `${channels.join()} is`} in doubt`
          )
        },
        gap: () => undefined,
        reset: reason => {
          this.#world.trace.note(`${this.name}: a room is reset, ${reason}`)
        },
        earlyFull: () => undefined,
        ringEvicted: () => undefined,
        stalled: () => undefined,
        fault: (what, error) => {
          oracle.onFault(this.name, what, error)
        }
      }
    )
    await service.start()
    service.store.deletions.start()
    return service
  }
}
