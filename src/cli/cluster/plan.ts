// Which slots go where: drain, rebalance and reshard as lists of moves. Pure: knows masters and
// their slots, and sends nothing. Invariant of every plan: each slot moves at most once, from the
// master that has it to another one.
import { Refusal } from './refusal.js'
import { slotsText } from './slots.js'

/** A master by its id, with its slots in ascending order. */
export type Holding = { readonly id: string; readonly slots: readonly number[] }

export type Move = { readonly slot: number; readonly from: string; readonly to: string }

/**
 * All slots of one master to others, so that these become as even as possible.
 * @throws Refusal when no master can take them
 */
export function planDrain(drained: Holding, others: readonly Holding[]): Move[] {
  if (drained.slots.length === 0) return []
  if (others.length === 0) {
    throw new Refusal(
      'There is no other master to take its slots: it is the last shard. Add one first.'
    )
  }
  const counts = new Map(others.map(({ id, slots }) => [id, slots.length]))
  const shares = new Map<string, number>()
  for (let index = 0; index < drained.slots.length; index++) {
    const id = least(counts)
    counts.set(id, (counts.get(id) ?? 0) + 1)
    shares.set(id, (shares.get(id) ?? 0) + 1)
  }
  return deal(
    [drained],
    others.map(({ id }) => ({ id, share: shares.get(id) ?? 0 }))
  )
}

/** Even numbers of slots on all masters, including empty ones, with as few moves as possible. */
export function planRebalance(masters: readonly Holding[]): Move[] {
  const total = masters.reduce((sum, { slots }) => sum + slots.length, 0)
  const share = Math.floor(total / masters.length)
  let oneMore = total % masters.length
  // If the slots do not divide evenly, the fullest masters keep one more, which saves a move each.
  const fullestFirst = [...masters].sort((a, b) => b.slots.length - a.slots.length)
  const wanted = new Map(fullestFirst.map(({ id }) => [id, share + (oneMore-- > 0 ? 1 : 0)]))
  const want = (id: string): number => wanted.get(id) ?? 0
  const surplus = masters
    .filter(({ id, slots }) => slots.length > want(id))
    .map(({ id, slots }) => ({ id, slots: slots.slice(want(id)) }))
  return deal(
    surplus,
    masters.map(({ id, slots }) => ({ id, share: Math.max(0, want(id) - slots.length) }))
  )
}

/**
 * A number of slots from the fullest of `from`, or exactly these slots. Slots that are already on
 * the target stay, so that an interrupted command can be repeated.
 * @throws Refusal when `from` does not have the slots
 */
export function planReshard(
  from: readonly Holding[],
  to: Holding,
  slots: number | 'all' | readonly number[]
): Move[] {
  const sources = from.filter(({ id }) => id !== to.id)
  if (typeof slots === 'object') return planExactly(sources, to, slots)
  const held = sources.reduce((sum, source) => sum + source.slots.length, 0)
  const count = slots === 'all' ? held : slots
  if (count > held) {
    throw new Refusal(`${count} slots were requested, but there are only ${held} to take.`)
  }
  const left = new Map(sources.map(source => [source.id, source.slots.length]))
  for (let index = 0; index < count; index++) {
    const id = most(left)
    left.set(id, (left.get(id) ?? 0) - 1)
  }
  return sources.flatMap(source =>
    source.slots.slice(left.get(source.id)).map(slot => ({ slot, from: source.id, to: to.id }))
  )
}

function planExactly(sources: readonly Holding[], to: Holding, slots: readonly number[]): Move[] {
  const owners = new Map(
    [...sources, to].flatMap(({ id, slots }) => slots.map(slot => [slot, id] as const))
  )
  const strange = slots.filter(slot => !owners.has(slot))
  if (strange.length > 0) {
    throw new Refusal(`Slots ${slotsText(strange, 10)} are not on the masters to take them from.`)
  }
  return slots.flatMap(slot => {
    const from = owners.get(slot)
    return from === undefined || from === to.id ? [] : [{ slot, from, to: to.id }]
  })
}

// Deals the givers' slots out in one sweep: neighbours stay together, so the cluster's list of
// ranges stays short.
function deal(
  givers: readonly Holding[],
  takers: ReadonlyArray<{ readonly id: string; readonly share: number }>
): Move[] {
  const waiting = givers.flatMap(({ id, slots }) => slots.map(slot => ({ slot, from: id })))
  let next = 0
  return takers.flatMap(({ id, share }) => {
    next += share
    return waiting.slice(next - share, next).map(({ slot, from }) => ({ slot, from, to: id }))
  })
}

const least = (counts: ReadonlyMap<string, number>): string =>
  best(counts, (count, other) => count < other)
const most = (counts: ReadonlyMap<string, number>): string =>
  best(counts, (count, other) => count > other)

function best(
  counts: ReadonlyMap<string, number>,
  isBetter: (count: number, other: number) => boolean
): string {
  let found: readonly [string, number] | undefined
  for (const entry of counts) if (found === undefined || isBetter(entry[1], found[1])) found = entry
  return found?.[0] ?? ''
}
