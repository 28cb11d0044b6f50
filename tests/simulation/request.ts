// A client's request that writes something. Without a key it is sent once; with a key it is
// repeated until it has a final answer. Knows how long an answer may take, and what the end of a
// process means. What to ask for, and which answers are right, is decided by its owner.
import { DialogsError } from '../../src/errors.js'
import { type Service } from '../../src/service.js'
import { type World } from './world.js'

export type Answer =
  | { readonly status: 200 | 201; readonly seq: number }
  | { readonly status: number; readonly code: string }
  /** The connection was lost, or the client has given up waiting. */
  | { readonly status: 0; readonly code: string }

export type RequestOptions = {
  /** Its name in the trace. */
  readonly name: string
  /** The instance that is asked first; later ones are chosen at random. */
  readonly instance: number
  readonly hasKey: boolean
  /** Calls the service, and checks what it answers. */
  readonly send: (service: Service) => Promise<Answer>
  /** Refusals that are final answers. */
  readonly finalCodes: ReadonlySet<string>
  /** How long an answer may take, if not one deadline of the service. */
  readonly patienceMs?: number
  readonly onAnswer: (answer: Answer) => void
}

const AGAIN_MS = [5, 600] as const
/** How much later than the service's own deadline an answer may come: the way there and back. */
const ANSWER_MS_SPARE = 50

export class Request {
  isDone = false
  readonly #world: World
  readonly #options: RequestOptions
  #instance: number

  constructor(world: World, options: RequestOptions) {
    this.#world = world
    this.#options = options
    this.#instance = options.instance
    this.#try()
  }

  get name(): string {
    return this.#options.name
  }

  #try(): void {
    const { time, clients, plan, random } = this.#world
    const instance = this.#world.instances[this.#instance]
    if (instance === undefined) throw new Error(`There is no instance ${this.#instance}`)
    const { owner } = instance
    const begunAt = time.now
    let isAnswered = false
    const answer = (answer: Answer): void => {
      if (isAnswered) return
      isAnswered = true
      this.#answered(answer)
    }
    time.after(
      random.between(0.1, plan.network.latencyMsMax),
      () => {
        const { service } = instance
        if (service === undefined || instance.isStopping) {
          time.after(
            0.2,
            () => {
              answer({ status: 0, code: 'REFUSED' })
            },
            clients
          )
          return
        }
        instance.requests++
        this.#options
          .send(service)
          .catch((error: unknown) => this.#refusal(error))
          .then(given => {
            instance.requests--
            time.after(
              random.between(0.1, plan.network.latencyMsMax),
              () => {
                answer(given)
              },
              clients
            )
          })
      },
      owner
    )
    const patienceMs = (this.#options.patienceMs ?? plan.service.storeDeadlineMs) + ANSWER_MS_SPARE
    const giveUp = (): void => {
      if (isAnswered) return
      if (!owner.isDead && !this.#world.wasHeldUp(owner, begunAt)) {
        this.#world.oracle.violation(`${this.name} is not answered within ${patienceMs} ms`)
      }
      answer({ status: 0, code: 'GONE' })
    }
    time.after(patienceMs, giveUp, clients)
    const look = (): void => {
      if (isAnswered) return
      if (owner.isDead) answer({ status: 0, code: 'GONE' })
      else time.after(50, look)
    }
    time.after(50, look, clients)
  }

  #refusal(error: unknown): Answer {
    const { oracle } = this.#world
    if (error instanceof DialogsError && error.code === 'STORE_REFUSED') {
      oracle.violation(`a command of the service is refused: ${String(error.cause)}`)
    }
    if (error instanceof DialogsError) return { status: error.statusCode, code: error.code }
    oracle.violation(
      `${this.name} is answered 500: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
    )
    return { status: 500, code: 'INTERNAL' }
  }

  #answered(answer: Answer): void {
    const { trace, random, time, clients } = this.#world
    const { name, hasKey, finalCodes } = this.#options
    trace.note(`${name}: ${answer.status} ${'seq' in answer ? answer.seq : answer.code}`)
    this.#options.onAnswer(answer)
    if ('seq' in answer || !hasKey || finalCodes.has(answer.code)) {
      this.isDone = true
      return
    }
    time.after(
      random.between(...AGAIN_MS),
      () => {
        this.#instance = random.below(this.#world.instances.length)
        this.#try()
      },
      clients
    )
  }
}
