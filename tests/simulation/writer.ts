// A client that posts one message: once without a key, again and again with one until it is
// answered for good.
import { DialogsError } from '../../src/errors.js'
import { type Appended } from '../../src/store/store.js'
import { type Post } from './plan.js'
import { type World } from './world.js'

export type Answer =
  | { readonly status: 200 | 201; readonly seq: number }
  | { readonly status: number; readonly code: string }
  /** The connection was lost, or the client has given up waiting. */
  | { readonly status: 0; readonly code: string }

const AGAIN_MS = [5, 600] as const
/** How much later than the service's own deadline an answer may come. */
const ANSWER_MS_SPARE = 1000

export class Writer {
  readonly post: Post
  readonly answers: Answer[] = []
  isDone = false
  readonly #world: World
  #instance: number

  constructor(world: World, post: Post) {
    this.post = post
    this.#world = world
    this.#instance = post.instance
    this.#try()
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
        instance.posts++
        const { room, user, text, once } = this.post
        service.store
          .append({ room, user, text, once })
          .then(
            ({ message, isNew }: Appended): Answer => {
              this.#world.oracle.onAcknowledged(this.post, message.seq)
              if (message.text !== text || message.user !== user || message.room !== room) {
                this.#world.oracle.violation(`${text} is answered with another message`)
              }
              return { status: isNew ? 201 : 200, seq: message.seq }
            },
            (error: unknown): Answer => {
              if (error instanceof DialogsError && error.code === 'STORE_REFUSED') {
                this.#world.oracle.violation(
                  `a command of the service is refused: ${String(error.cause)}`
                )
              }
              if (error instanceof DialogsError) {
                return { status: error.statusCode, code: error.code }
              }
              this.#world.oracle.violation(
                `a POST is answered 500: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
              )
              return { status: 500, code: 'INTERNAL' }
            }
          )
          .then(given => {
            instance.posts--
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
    const patienceMs = plan.service.storeDeadlineMs + ANSWER_MS_SPARE
    const giveUp = (): void => {
      if (isAnswered) return
      if (!owner.isDead && !this.#world.wasHeldUp(owner, begunAt)) {
        this.#world.oracle.violation(
          `the POST of ${this.post.text} is not answered within ${patienceMs} ms`
        )
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

  #answered(answer: Answer): void {
    const { trace, oracle, random, time, clients } = this.#world
    this.answers.push(answer)
    trace.note(
      `${this.post.text.slice(0, 12)} to ${this.post.room}: ${answer.status} ${'seq' in answer ? answer.seq : answer.code}`
    )
    if ('seq' in answer) oracle.onAnswered(this.post, answer.seq)
    else oracle.onRefused(this.post, answer)
    if ('seq' in answer || this.post.once === undefined || answer.code === 'MESSAGE_LOST') {
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
