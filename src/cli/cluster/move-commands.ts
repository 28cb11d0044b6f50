// The commands that move slots: drain, rebalance, reshard, finish. All have the same steps: check
// that the cluster is healthy, finish what was left half-moved, plan, ask, move. Only the plans
// differ.
import { count, time } from '../progress.js'
import { checkTargets, findUnfinished, finishHalfMoved } from './half-moved.js'
import { type ClusterMap, nodeText } from './map.js'
import { moveSlots, type MoveResult } from './mover.js'
import { type Holding, type Move, planDrain, planRebalance, planReshard } from './plan.js'
import { Interrupted, Refusal } from './refusal.js'
import { type Session } from './session.js'
import { slotsText } from './slots.js'
import { bytesText, table } from './table.js'
import { checkRoom, readDatasets, weigh } from './weight.js'
import { type Order } from './cluster-options.js'

type MoveOrder = Extract<Order, { name: 'drain' | 'rebalance' | 'reshard' | 'finish' }>

/** @throws Refusal before anything was changed; Interrupted after the current slots */
export async function runMove(session: Session, order: MoveOrder): Promise<void> {
  const map = await session.ready()
  const unfinished = await findUnfinished(session.admin, map)
  checkTargets(map, unfinished)
  // The plan is made for the cluster as it will be after that.
  const finished = map.withOwners(new Map(unfinished.moves.map(({ slot, to }) => [slot, to])))
  const moves = planFor(order, finished)
  const weights = weigh(
    [...unfinished.moves, ...moves],
    unfinished.keys,
    await readDatasets(session.admin, map)
  )
  await checkRoom(session.admin, map, weights)

  if (unfinished.moves.length > 0) {
    session.say(
      `Slots left half-moved, which are finished first: ${slotsText(
        unfinished.moves.map(({ slot }) => slot),
        10
      )}`
    )
  }
  if (unfinished.staleMarks.length > 0) {
    session.say(
      `Leftover marks that will be removed: slots ${slotsText(new Set(unfinished.staleMarks.map(({ slot }) => slot)), 10)}`
    )
  }
  if (unfinished.moves.length + unfinished.staleMarks.length + moves.length === 0) {
    return session.say('Nothing to do: everything is where it should be.')
  }
  if (weights.length > 0) session.say(planText(map, weights, finished, moves))
  await session.confirm('Do it?')

  if (unfinished.moves.length + unfinished.staleMarks.length > 0) {
    const result = await session.moving(unfinished.moves.length, options =>
      finishHalfMoved(session.admin, options)
    )
    if (session.isInterrupted) {
      throw new Interrupted(`Stopped. To continue: ${continuation(map, order, moves)}`)
    }
    if (result !== undefined) session.say(`Finished ${count(result.slotsDone)} half-moved slots.`)
  }
  if (moves.length === 0) return
  const result = await session.moving(moves.length, options =>
    moveSlots(session.admin, moves, options)
  )
  session.say(resultText(result))
  if (!result.isComplete) {
    throw new Interrupted(`To continue: ${continuation(map, order, result.rest)}`)
  }
}

function planFor(order: MoveOrder, map: ClusterMap): Move[] {
  const holding = (id: string): Holding => ({ id, slots: map.slotsOf(id) })
  switch (order.name) {
    case 'finish':
      return []
    case 'rebalance':
      return planRebalance(map.holdings)
    case 'drain': {
      const drained = holding(map.masterNamed(order.node).id)
      const others = map.holdings.filter(({ id }) => id !== drained.id)
      // An empty master may itself have been drained and wait for removal.
      const takers =
        order.to.length > 0
          ? order.to.map(name => holding(map.masterNamed(name).id))
          : others.filter(({ slots }) => slots.length > 0)
      if (takers.some(({ id }) => id === drained.id)) {
        throw new Refusal('A shard cannot be drained to itself.')
      }
      const empty = others
        .filter(({ slots }) => slots.length === 0)
        .flatMap(({ id }) => map.nodes.get(id) ?? [])
      if (takers.length === 0 && empty.length > 0) {
        throw new Refusal(
          `It is the last shard that has slots: say where they should go, for example --to ${empty[0]?.reachable.port}.`
        )
      }
      return planDrain(drained, takers)
    }
    case 'reshard': {
      const to = map.masterNamed(order.to)
      const from =
        order.from === 'all'
          ? map.holdings
          : order.from.map(name => holding(map.masterNamed(name).id))
      return planReshard(from, holding(to.id), order.slots)
    }
  }
}

function planText(
  map: ClusterMap,
  weights: ReturnType<typeof weigh>,
  finished: ClusterMap,
  moves: readonly Move[]
): string {
  const name = (id: string): string =>
    nodeText(map.nodes.get(id) ?? { id, reachable: { host: 'unknown', port: 0 } })
  const after = finished.withOwners(new Map(moves.map(({ slot, to }) => [slot, to])))
  const total = (of: 'keys' | 'bytes'): number =>
    weights.reduce((sum, weight) => sum + weight[of], 0)
  return [
    '',
    table(
      ['from', 'to', '>slots', '>keys', '>about', 'slot ranges'],
      weights.map(({ from, to, slots, keys, bytes }) => [
        name(from),
        name(to),
        count(slots.length),
        count(keys),
        bytesText(bytes),
        slotsText(slots, 6)
      ])
    ),
    '',
    table(
      ['master', '>slots now', '>afterwards'],
      map.masters.map(({ id }) => [
        name(id),
        count(map.slotsOf(id).length),
        count(after.slotsOf(id).length)
      ])
    ),
    '',
    `Altogether ${count(weights.reduce((sum, { slots }) => sum + slots.length, 0))} slots, ${count(total('keys'))} keys, about ${bytesText(total('bytes'))}.`
  ].join('\n')
}

const resultText = ({
  isComplete,
  slotsDone,
  slotsTotal,
  keysDone,
  retries,
  batchMsMax,
  elapsedMs
}: MoveResult): string =>
  `${isComplete ? 'Moved' : 'Stopped:'} ${count(slotsDone)} of ${count(slotsTotal)} slots, ${count(keysDone)} keys in ${time(elapsedMs)}. ` +
  `The longest pause of a node: ${batchMsMax.toFixed(1)} ms.${retries > 0 ? ` Begun again after errors: ${retries} times.` : ''}`

// The same command again, except for a reshard by count, which would move that many slots once
// more.
function continuation(map: ClusterMap, order: MoveOrder, rest: readonly Move[]): string {
  const address = (id: string): string => String(map.nodes.get(id)?.reachable.port ?? id)
  const words =
    order.name === 'drain'
      ? ['drain', order.node, ...(order.to.length > 0 ? ['--to', order.to.join(',')] : [])]
      : order.name === 'reshard'
        ? [
            'reshard',
            '--from',
            [...new Set(rest.map(({ from }) => address(from)))].join(','),
            '--to',
            order.to,
            '--slots',
            slotsText(rest.map(({ slot }) => slot).sort((a, b) => a - b)).replace(
              /^(\d+)$/,
              '$1-$1'
            )
          ]
        : [order.name]
  return `npm run cluster -- ${words.join(' ')}`
}
