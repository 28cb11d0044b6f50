// Counts over time how many slots have left the master that owned them when the watch started.
import { SLOT_COUNT } from '../../src/redis/slots.js'
import { type Operator } from './operator.js'
import { Samples } from './samples.js'

const EVERY_MS = 250

/**
 * Looks four times a second. The returned function stops the watch, and returns the counts with
 * their times.
 */
export async function watchSlots(operator: Operator): Promise<() => Samples> {
  const start = await owners(operator)
  const moved = new Samples()
  const look = async (): Promise<void> => {
    const now = await owners(operator)
    moved.add(
      performance.now(),
      now.reduce((sum, owner, slot) => (owner === start[slot] ? sum : sum + 1), 0)
    )
  }
  // A failed look only costs one point of the plot.
  const timer = setInterval(() => {
    look().catch(() => undefined)
  }, EVERY_MS)
  return () => {
    clearInterval(timer)
    return moved
  }
}

async function owners(operator: Operator): Promise<Array<string | undefined>> {
  const owners = new Array<string | undefined>(SLOT_COUNT).fill(undefined)
  for (const { node } of await operator.members()) {
    for (const [first, last] of node.slots) owners.fill(node.id, first, last + 1)
  }
  return owners
}
