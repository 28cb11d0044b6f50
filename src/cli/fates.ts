// Which of a load's messages are changed or deleted after they were acknowledged. They are spread
// evenly over the run, so a short run has its share of both, and every run has the same ones.

export type Fate = 'kept' | 'changed' | 'deleted'

/**
 * @param changedPercent of all messages, 0 to 100; together with `deletedPercent` not more than 100
 * @returns what becomes of the message of an index, 0, 1, 2 …
 */
export function fates(changedPercent: number, deletedPercent: number): (index: number) => Fate {
  const percent = changedPercent + deletedPercent
  /** How many of the first `count` messages are changed or deleted. */
  const touched = (count: number): number => Math.floor((count * percent) / 100)
  /** How many of the first `touched` ones of these are deleted. */
  const deleted = (touched: number): number => Math.floor((touched * deletedPercent) / percent)
  return index => {
    const n = touched(index + 1)
    if (n === touched(index)) return 'kept'
    return deleted(n) > deleted(n - 1) ? 'deleted' : 'changed'
  }
}
