// Sets of slots as people write and read them: `0-99,200`. Pure.
import { UsageError } from '../options.js'
import { SLOT_COUNT } from '../../redis/slots.js'

export type Range = readonly [first: number, last: number]

/** Ascending ranges of ascending slots. */
export function rangesOf(slots: Iterable<number>): Range[] {
  const ranges: Array<[number, number]> = []
  for (const slot of slots) {
    const last = ranges.at(-1)
    if (last !== undefined && last[1] === slot - 1) last[1] = slot
    else ranges.push([slot, slot])
  }
  return ranges
}

/** `0-99,200`; `none` for no slots. After `rangesMax` ranges, the rest is only counted. */
export function slotsText(slots: Iterable<number>, rangesMax = Infinity): string {
  const ranges = rangesOf(slots)
  if (ranges.length === 0) return 'none'
  const shown = ranges
    .slice(0, rangesMax)
    .map(([first, last]) => (first === last ? String(first) : `${first}-${last}`))
  const more = ranges.length - shown.length
  return shown.join(',') + (more > 0 ? ` and ${more} more ranges` : '')
}

/**
 * Parses `--slots`: a count (`1000`), ranges (`0-99,200-200`; a single slot is a range too, `7-7`),
 * or `all`.
 * @throws UsageError
 */
export function readSlots(text: string): number | 'all' | number[] {
  if (text === 'all') return 'all'
  if (/^\d+$/.test(text)) {
    const count = Number(text)
    if (count < 1 || count > SLOT_COUNT) {
      throw new UsageError(
        `--slots must be a count from 1 to ${SLOT_COUNT}, not ${text}. A single slot is a range: --slots ${text}-${text}.`
      )
    }
    return count
  }
  const slots = new Set<number>()
  for (const part of text.split(',')) {
    const match = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part)
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? match?.[1])
    if (match === null || first > last || last >= SLOT_COUNT) {
      throw new UsageError(
        `--slots must be a count, \`all\`, or ranges from 0 to ${SLOT_COUNT - 1} such as 0-99,200-299, not '${text}'.`
      )
    }
    for (let slot = first; slot <= last; slot++) slots.add(slot)
  }
  return [...slots].sort((a, b) => a - b)
}
