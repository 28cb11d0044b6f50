// Where each brick stands: pure arithmetic. A shard's bricks fill its column from the bottom, in
// several stacks side by side if one would be too high. All bricks have the same scale, so areas
// can be compared. With few messages the scale is larger, or the bricks would be mere lines.
import { type Brick } from './bricks.js'

/** A brick on the wall, in px from the top left. */
export type Box = {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

const GAP = 2
const HEIGHT_MIN = 3
/** Heights of a full brick in px; the largest that fits is used. */
const HEIGHTS = [64, 48, 36, 28, 22, 17, 13, 10, 8, 6, 5, 4]
/** What a brick of full height holds: the first number that no brick exceeds, or else a block. */
const FULL_LENGTHS = [10, 30, 100, 300]
const WIDTH_MIN = 8
const WIDTH_MAX = 140
const MARGIN = 6

/**
 * @param columns the bricks of each shard, in the order in which they are stacked from the bottom
 * @param blockLength how many messages a block may have
 * @returns the boxes of each column's bricks, in the same order; px
 */
export function layOut(
  columns: ReadonlyArray<readonly Brick[]>,
  blockLength: number,
  columnWidth: number,
  wallHeight: number
): Box[][] {
  const room = columnWidth - 2 * MARGIN
  const fullest = columns.flat().reduce((most, { messages }) => Math.max(most, messages), 0)
  const fullLength = Math.min(
    blockLength,
    FULL_LENGTHS.find(length => length >= fullest) ?? blockLength
  )
  const stacksOf = (bricks: readonly Brick[], full: number): Stacked[] =>
    stacked(
      bricks.map(({ messages }) => Math.min(1, messages / fullLength)),
      full,
      wallHeight
    )
  const scales = HEIGHTS.map(full => {
    const stacks = Math.max(1, ...columns.map(bricks => countOf(stacksOf(bricks, full))))
    return { full, width: Math.floor((room - (stacks - 1) * GAP) / stacks) }
  })
  const scale = scales.find(({ width }) => width >= WIDTH_MIN) ?? scales.at(-1)
  const full = scale?.full ?? 4
  const width = Math.max(2, Math.min(WIDTH_MAX, scale?.width ?? WIDTH_MIN))
  return columns.map((bricks, index) => {
    const stacks = stacksOf(bricks, full)
    const used = countOf(stacks) * (width + GAP) - GAP
    const left = index * columnWidth + Math.max(MARGIN, Math.floor((columnWidth - used) / 2))
    return stacks.map(({ stack, bottom, height }) => ({
      x: left + stack * (width + GAP),
      y: wallHeight - bottom - height,
      width,
      height
    }))
  })
}

type Stacked = { readonly stack: number; readonly bottom: number; readonly height: number }

const countOf = (stacks: readonly Stacked[]): number => (stacks.at(-1)?.stack ?? 0) + 1

/** @param shares how full each brick is, 0 to 1 */
function stacked(shares: readonly number[], full: number, wallHeight: number): Stacked[] {
  let stack = 0
  let top = 0
  return shares.map(share => {
    const height = Math.max(HEIGHT_MIN, Math.round(share * full))
    if (top > 0 && top + height > wallHeight - MARGIN) {
      stack++
      top = 0
    }
    const bottom = top
    top += height + GAP
    return { stack, bottom, height }
  })
}

/** The fullest shard's share divided by the mean share; 1 without messages. */
export function fullestOverMean(totals: readonly number[]): number {
  const sum = totals.reduce((total, messages) => total + messages, 0)
  return sum === 0 ? 1 : (Math.max(...totals) * totals.length) / sum
}
