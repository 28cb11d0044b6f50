// The wall of bricks, and the thread through the bricks of one user. Bricks are moved by their CSS
// transform, so a brick whose slot has moved flies to its new shard.
import { find } from '../find.js'
import { hueOf } from '../hue.js'
import { type Brick, type Found } from './bricks.js'
import { type Box, layOut } from './layout.js'
import { type Picture, shardOf } from './picture.js'

const COLUMN_WIDTH_MIN = 44
const FLIGHT_MS = 950
/** The thread joins this many bricks, the newest; with more, nobody could follow it. */
export const JOINED_MAX = 30

type Shown = { readonly element: HTMLButtonElement; column: number }

export class Wall {
  readonly #board = find(HTMLElement, '#board')
  readonly #wall = find(HTMLElement, '#wall')
  readonly #thread = find(SVGPathElement, '#thread path')
  readonly #onChoose: (user: string) => void
  readonly #shown = new Map<string, Shown>()
  #bricks: readonly Brick[] = []
  #user: string | undefined
  #landing: ReturnType<typeof setTimeout> | undefined

  constructor(onChoose: (user: string) => void) {
    this.#onChoose = onChoose
    this.#board.addEventListener('keydown', event => this.#step(event))
  }

  /** The width of a column in px, for this many shards. */
  columnWidth(shards: number): number {
    return Math.max(COLUMN_WIDTH_MIN, Math.floor(this.#board.clientWidth / Math.max(1, shards)))
  }

  draw(picture: Picture, { bricks, blockLength }: Found, user: string | undefined): void {
    this.#bricks = bricks
    this.#user = user
    const columns = columnsOf(picture, bricks)
    const width = this.columnWidth(columns.length)
    this.#wall.style.width = `${width * columns.length}px`
    const boxes = layOut(columns, blockLength, width, this.#wall.clientHeight)
    const moving = new Set(picture.moving.map(({ slot }) => slot))
    const newest = newestOf(bricks, user)
    let isFlying = false
    const boxOf = new Map<string, Box>()
    for (const [column, stacked] of columns.entries()) {
      for (const [index, brick] of stacked.entries()) {
        const box = boxes[column]?.[index]
        if (box === undefined) continue
        boxOf.set(brick.key, box)
        const shown = this.#show(brick, column)
        if (shown.column !== column) {
          isFlying = true
          shown.element.classList.add('flying')
          shown.column = column
        }
        put(shown.element, brick, box)
        shown.element.classList.toggle('moving', moving.has(brick.slot))
        shown.element.classList.toggle('filling', brick === newest && brick.messages < blockLength)
      }
    }
    for (const [key, { element }] of this.#shown) {
      if (boxOf.has(key)) continue
      element.remove()
      this.#shown.delete(key)
    }
    this.#join(bricks, user, boxOf)
    if (isFlying) this.#land()
  }

  #show(brick: Brick, column: number): Shown {
    const known = this.#shown.get(brick.key)
    if (known !== undefined) return known
    const element = document.createElement('button')
    element.type = 'button'
    element.className = 'brick'
    // One tab stop is enough: on the board, the arrow keys choose a user.
    element.tabIndex = -1
    element.style.setProperty('--hue', String(hueOf(brick.user)))
    element.addEventListener('click', () => {
      this.#onChoose(brick.user)
    })
    this.#wall.append(element)
    const shown = { element, column }
    this.#shown.set(brick.key, shown)
    return shown
  }

  /** Down chooses the user with the next fewer messages, Up the one with the next more. */
  #step(event: KeyboardEvent): void {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key]
    if (step === undefined || event.target !== this.#board) return
    event.preventDefault()
    const users = byMessages(this.#bricks)
    const index = users.findIndex(([user]) => user === this.#user)
    const [user, messages] = users[Math.min(users.length - 1, Math.max(0, index + step))] ?? []
    if (user === undefined || messages === undefined) return
    this.#onChoose(user)
    const count = this.#bricks.filter(brick => brick.user === user).length
    find(HTMLElement, '#chosen').textContent =
      `${user}: ${counted(messages, 'message')} in ${counted(count, 'brick')}`
  }

  // The thread would point to places that bricks have left, so it comes back when they have landed.
  #land(): void {
    this.#wall.classList.add('moves')
    clearTimeout(this.#landing)
    this.#landing = setTimeout(() => {
      this.#wall.classList.remove('moves')
      for (const { element } of this.#shown.values()) element.classList.remove('flying')
    }, FLIGHT_MS)
  }

  #join(bricks: readonly Brick[], user: string | undefined, boxOf: ReadonlyMap<string, Box>): void {
    const points = bricks
      .filter(brick => brick.user === user)
      .sort((a, b) => a.block - b.block)
      .slice(-JOINED_MAX)
      .flatMap(({ key }) => boxOf.get(key) ?? [])
      .map(({ x, y, width, height }) => `${x + width / 2} ${y + height / 2}`)
    this.#thread.setAttribute('d', points.length < 2 ? '' : `M ${points.join(' L ')}`)
  }
}

function put(element: HTMLButtonElement, brick: Brick, { x, y, width, height }: Box): void {
  element.style.transform = `translate(${x}px, ${y}px)`
  element.style.width = `${width}px`
  element.style.height = `${height}px`
  element.title = `${brick.user}, block ${brick.block}: ${brick.messages.toLocaleString('en')} messages, slot ${brick.slot}`
}

/**
 * The bricks of each shard. A user's bricks on a shard lie together, and users are in the order of
 * their names.
 */
export function columnsOf(picture: Picture, bricks: readonly Brick[]): Brick[][] {
  const columns: Brick[][] = picture.shards.map(() => [])
  for (const brick of bricks) columns[shardOf(picture, brick.slot)]?.push(brick)
  for (const column of columns) {
    column.sort((a, b) => (a.user < b.user ? -1 : a.user > b.user ? 1 : a.block - b.block))
  }
  return columns
}

/** For example `1,000 messages`. */
export function counted(value: number, noun: string): string {
  return `${value.toLocaleString('en')} ${noun}${value === 1 ? '' : 's'}`
}

/** Users and how many messages each has, most first. */
export function byMessages(bricks: readonly Brick[]): Array<[user: string, messages: number]> {
  const totals = new Map<string, number>()
  for (const { user, messages } of bricks) totals.set(user, (totals.get(user) ?? 0) + messages)
  return [...totals].sort(([, a], [, b]) => b - a)
}

function newestOf(bricks: readonly Brick[], user: string | undefined): Brick | undefined {
  return bricks
    .filter(brick => brick.user === user)
    .reduce<Brick | undefined>(
      (newest, brick) => (newest === undefined || brick.block > newest.block ? brick : newest),
      undefined
    )
}
