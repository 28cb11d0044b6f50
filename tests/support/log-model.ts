// A room's log in memory that answers as Redis would, while other processes append, seal and trim
// between any two commands. With it, a property test can try every interleaving that a reader may
// meet on a real cluster.
import { logKey, segmentKey } from '../../src/store/keys.js'
import { type Reply } from '../../src/redis/connection.js'
import { type Pieces } from '../../src/store/pieces.js'
import { sequence } from './client.js'

/**
 * What other processes do before a command runs. A seal writes the next segment, a trim cuts off
 * what is sealed.
 */
export type Meanwhile = { readonly append: number } | 'seal' | 'trim'

type Commands = ConstructorParameters<typeof Pieces>[0]

export const referenceAt = (seq: number): string => `u.0/${1000 + seq}-0`

export class LogModel implements Commands {
  readonly #room: string
  readonly #segmentLength: number
  readonly #meanwhile: Array<readonly Meanwhile[]>
  #head = 0
  #sealed = 0
  #tailFirst = 1

  constructor(room: string, segmentLength: number, meanwhile: ReadonlyArray<readonly Meanwhile[]>) {
    this.#room = room
    this.#segmentLength = segmentLength
    this.#meanwhile = [...meanwhile]
  }

  get head(): number {
    return this.#head
  }

  apply(event: Meanwhile): void {
    if (event === 'seal') {
      if (this.#head - this.#tailFirst + 1 > 2 * this.#segmentLength) {
        this.#sealed = this.#tailFirst + this.#segmentLength - 1
      }
    } else if (event === 'trim') this.#tailFirst = Math.max(this.#tailFirst, this.#sealed + 1)
    else this.#head += event.append
  }

  async command(_slot: number, args: ReadonlyArray<string | Buffer>): Promise<Reply> {
    for (const event of this.#meanwhile.shift() ?? []) this.apply(event)
    const [name, key, from, to, , count] = args.map(String)
    const [first, last] = this.#held(String(key))
    const [low, high] = name === 'XREVRANGE' ? [to, from] : [from, to]
    const seqs = sequence(Math.max(first, seqOf(low, first)), Math.min(last, seqOf(high, last)))
    if (name === 'XREVRANGE') seqs.reverse()
    return seqs
      .slice(0, count === undefined ? undefined : Number(count))
      .map(seq => [`0-${seq}`, ['r', referenceAt(seq)]])
  }

  read = this.command.bind(this)

  async isStranded(): Promise<boolean> {
    return false
  }

  async write(): Promise<never> {
    throw new Error('Readers do not write')
  }

  #held(key: string): readonly [first: number, last: number] {
    if (key === logKey(this.#room)) return [this.#tailFirst, this.#head]
    const segment = sequence(0, Math.floor(this.#sealed / this.#segmentLength)).find(
      number => key === segmentKey(this.#room, number)
    )
    return segment === undefined
      ? [1, 0]
      : [
          segment * this.#segmentLength + 1,
          Math.min(this.#sealed, (segment + 1) * this.#segmentLength)
        ]
  }
}

const seqOf = (id: string | undefined, otherwise: number): number =>
  id === undefined || id === '-' || id === '+' ? otherwise : Number(id.slice(2))
