// The 16,384 slots as one bar: the shards' ranges in their colours, the places of the room's
// bricks, and the slots that are moving.
import { find } from '../find.js'
import { type Brick } from './bricks.js'
import { type Picture, shardHue } from './picture.js'

const SVG = 'http://www.w3.org/2000/svg'

export function drawSlots(picture: Picture, bricks: readonly Brick[]): void {
  const ranges = picture.shards.flatMap(({ slots }, index) =>
    slots.map(([first, last]) => {
      const rect = document.createElementNS(SVG, 'rect')
      rect.setAttribute('class', 'range')
      rect.setAttribute('x', String(first))
      rect.setAttribute('width', String(last - first + 1))
      rect.setAttribute('height', '100')
      rect.style.setProperty('--shard', String(shardHue(index)))
      return rect
    })
  )
  const lines = bricks.map(({ slot }) => line('brick-slot', slot, 70))
  const moving = picture.moving.map(({ slot }) => line('moving', slot, 0))
  const bar = find(SVGSVGElement, '#slots')
  bar.replaceChildren(...ranges, ...lines, ...moving)
  bar.ariaLabel = picture.shards
    .map(({ slotCount }, index) => `Shard ${index + 1}: ${slotCount.toLocaleString('en')} slots`)
    .join(', ')
  find(HTMLElement, '#moving').textContent = movingText(picture.moving.length)
}

function movingText(count: number): string {
  if (count === 0) return ''
  return count === 1
    ? '1 slot is moving to another shard now.'
    : `${count} slots are moving to another shard now.`
}

function line(name: string, slot: number, from: number): SVGLineElement {
  const element = document.createElementNS(SVG, 'line')
  element.setAttribute('class', name)
  element.setAttribute('x1', String(slot + 0.5))
  element.setAttribute('x2', String(slot + 0.5))
  element.setAttribute('y1', String(from))
  element.setAttribute('y2', '100')
  return element
}
