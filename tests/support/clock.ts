import type { Test } from 'tap'

/** performance.now() goes on as usual, and is put forward by what the test advances it. */
export function clockOf(t: Test): (ms: number) => void {
  let aheadMs = 0
  const now = performance.now.bind(performance)
  t.intercept(performance, 'now', { value: () => now() + aheadMs })
  return ms => {
    aheadMs += ms
  }
}
