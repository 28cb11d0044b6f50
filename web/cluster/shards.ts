// The head of each column, the table of the same figures, and how evenly the room is spread.
import { find } from '../find.js'
import { type Brick } from './bricks.js'
import { fullestOverMean } from './layout.js'
import { type Figures, type NodeView, type Picture, shardHue, type ShardView } from './picture.js'

const SVG = 'http://www.w3.org/2000/svg'
/** Below this width in px, a column shows only its name and nodes. */
const NARROW = 150

export type ShardsView = {
  readonly picture: Picture
  readonly figures: readonly Figures[]
  /** The bricks of each shard. */
  readonly columns: ReadonlyArray<readonly Brick[]>
  readonly columnWidth: number
}

export function drawShards({ picture, figures, columns, columnWidth }: ShardsView): void {
  const totals = columns.map(bricks => bricks.reduce((sum, { messages }) => sum + messages, 0))
  const figuresOf = new Map(figures.map(shard => [shard.id, shard]))
  find(HTMLElement, '#board').classList.toggle('narrow', columnWidth < NARROW)
  find(HTMLElement, '#columns').replaceChildren(
    ...picture.shards.map((shard, index) =>
      head(shard, index, columnWidth, figuresOf.get(shard.id), totals[index] ?? 0)
    )
  )
  find(HTMLElement, '#rows').replaceChildren(
    ...picture.shards.map((shard, index) =>
      row(shard, index, figuresOf.get(shard.id), totals[index] ?? 0)
    )
  )
  drawEvenness(totals)
}

/** What to know about nodes that do not answer; empty if all do. */
export function downText({ shards }: Picture): string {
  const parts = shards.flatMap(({ master, replicas }, index) => {
    const shard = `Shard ${index + 1}`
    const dead = replicas.filter(({ isUp }) => !isUp).length
    if (master.isUp) {
      if (dead === 0) return []
      return `${shard}: ${dead === 1 ? 'a replica does' : `${dead} replicas do`} not answer.`
    }
    return dead < replicas.length
      ? `${shard}: its master does not answer. Until a replica takes over, in some seconds, nothing can be written there.`
      : `${shard}: its master does not answer, and there is no replica that could take over.`
  })
  return parts.join(' ')
}

function head(
  shard: ShardView,
  index: number,
  width: number,
  figures: Figures | undefined,
  messages: number
): HTMLElement {
  const element = node('div', shard.master.isUp ? 'shard' : 'shard down')
  element.style.width = `${width}px`
  element.style.setProperty('--shard', String(shardHue(index)))
  const nodes = node('div', 'nodes')
  nodes.append(
    dot(shard.master, 'master'),
    ...shard.replicas.map(replica => dot(replica, 'replica')),
    node('span', 'address', shard.master.address)
  )
  const list = document.createElement('dl')
  for (const [name, value] of [
    ['messages of the room', number(messages)],
    ['slots', number(shard.slotCount)],
    ['keys', number(figures?.keys)],
    ['memory', bytes(figures?.memoryBytes)],
    ['commands/s', number(figures?.operationsPerSecond)],
    ['entries/s', number(figures?.entriesPerSecond)],
    ['replica lag', bytes(figures?.replicaLagBytes)]
  ] as const) {
    const pair = document.createElement('div')
    pair.append(node('dt', '', name), node('dd', '', value))
    list.append(pair)
  }
  element.append(node('b', '', width < NARROW ? String(index + 1) : `Shard ${index + 1}`))
  element.append(nodes, list)
  element.title = `Shard ${index + 1}: master ${shard.master.address}, ${number(messages)} messages of the room`
  return element
}

function row(
  shard: ShardView,
  index: number,
  figures: Figures | undefined,
  messages: number
): HTMLElement {
  const element = document.createElement('tr')
  const replicas = shard.replicas.map(({ address, isUp }) => `${address}${isUp ? '' : ' (down)'}`)
  for (const text of [
    String(index + 1),
    `${shard.master.address}${shard.master.isUp ? '' : ' (down)'}`,
    replicas.join(', ') || 'none',
    number(shard.slotCount),
    number(figures?.keys),
    bytes(figures?.memoryBytes),
    number(figures?.operationsPerSecond),
    number(figures?.entriesPerSecond),
    bytes(figures?.replicaLagBytes),
    number(messages)
  ]) {
    element.append(node('td', '', text))
  }
  return element
}

function dot({ address, isUp }: NodeView, role: 'master' | 'replica'): HTMLElement {
  const element = node('span', `node ${role}${isUp ? '' : ' down'}`)
  element.title = `${role} ${address}, ${isUp ? 'up' : 'down'}`
  return element
}

function drawEvenness(totals: readonly number[]): void {
  const sum = totals.reduce((total, messages) => total + messages, 0)
  bars(
    '#one-key',
    totals.map((_, index) => (index === 0 ? sum : 0)),
    sum
  )
  bars('#blocks', totals, sum)
  find(HTMLElement, '#one-key-ratio').textContent = (sum === 0 ? 1 : totals.length).toFixed(2)
  find(HTMLElement, '#blocks-ratio').textContent = fullestOverMean(totals).toFixed(2)
}

// Both charts have the same scale: their height is all messages of the room.
function bars(selector: string, totals: readonly number[], sum: number): void {
  const svg = find(SVGSVGElement, selector)
  svg.ariaLabel = `Messages of each shard: ${totals.map(messages => number(messages)).join(', ')}`
  svg.setAttribute('viewBox', `0 0 ${totals.length * 10} 100`)
  svg.setAttribute('preserveAspectRatio', 'none')
  svg.replaceChildren(
    ...totals.map((messages, index) => {
      const height = sum === 0 ? 0 : (messages / sum) * 100
      const rect = document.createElementNS(SVG, 'rect')
      rect.setAttribute('x', String(index * 10 + 1))
      rect.setAttribute('width', '8')
      rect.setAttribute('y', String(100 - height))
      rect.setAttribute('height', String(height))
      rect.style.setProperty('--shard', String(shardHue(index)))
      return rect
    })
  )
}

function node(name: string, className: string, text = ''): HTMLElement {
  const element = document.createElement(name)
  element.className = className
  element.textContent = text
  return element
}

const number = (value: number | null | undefined): string =>
  value === null || value === undefined ? '–' : value.toLocaleString('en')

function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–'
  if (value < 1024) return `${value} B`
  if (value < 1024 ** 2) return `${(value / 1024).toFixed(0)} KiB`
  return `${(value / 1024 ** 2).toFixed(1)} MiB`
}
