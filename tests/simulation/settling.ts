// When a run has settled: what must be over, and what clients must have been told.
import { disagreementIn } from './agreement.js'
import { type World } from './world.js'

/**
 * Everything that was asked for is done: every POST is answered, every reader is live, nothing is
 * half-moved.
 */
export const isSettled = (world: World): boolean => isAtRest(world) && hasAgreed(world)

/** The same, whatever readers and people were told. */
export function isAtRest(world: World): boolean {
  return (
    world.isCalm &&
    world.requests.every(({ isDone }) => isDone) &&
    world.readers.every(({ isLive }) => isLive) &&
    world.people.every(({ isLive }) => isLive) &&
    world.instances.every(({ service, isStopping }) => service !== undefined && !isStopping) &&
    world.movers.isAtRest &&
    world.oracle.rooms.unfinished === undefined &&
    world.nodes.every(node => (node.isMaster ? !node.isDown : node.upstream?.isInStep))
  )
}

/** Every request is answered, and everybody follows what they read and has all of it. */
export function hasToldAll(world: World): boolean {
  return (
    world.requests.every(({ isDone }) => isDone) &&
    world.readers.every(({ isLive }) => isLive) &&
    world.people.every(({ isLive }) => isLive) &&
    hasAgreed(world)
  )
}

/** Readers and people were told exactly what is stored. */
export const hasAgreed = (world: World): boolean =>
  disagreementIn(world) === undefined && world.dialogs.disagreement === undefined

/** What has not settled yet, for people. */
export function whatIsLeft(world: World): string {
  const left = [
    ...world.requests
      .filter(({ isDone }) => !isDone)
      .map(({ name }) => `${name} has no final answer`),
    ...[...world.readers, ...world.people]
      .filter(({ isLive }) => !isLive)
      .map(({ name }) => `${name} is not live`),
    ...[world.oracle.rooms.unfinished, disagreementIn(world), world.dialogs.disagreement].filter(
      text => text !== undefined
    ),
    ...world.instances
      .filter(({ service, isStopping }) => service === undefined || isStopping)
      .map(({ name, isStopping }) => `${name} is ${isStopping ? 'still stopping' : 'not ready'}`),
    ...(world.movers.isAtRest
      ? []
      : [`${world.movers.left}${world.isHealthy ? '' : ' (and the cluster is not healthy)'}`]),
    ...world.nodes
      .filter(node => (node.isMaster ? node.isDown : node.upstream?.isInStep !== true))
      .map(({ name }) => `${name} is not healthy`)
  ]
  return left.join(', ')
}
