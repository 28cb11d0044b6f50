// What the service reports about the cluster (GET /cluster/events), and which shard owns a slot in
// it.

export type NodeView = { readonly id: string; readonly address: string; readonly isUp: boolean }

export type ShardView = {
  readonly id: string
  readonly master: NodeView
  readonly replicas: readonly NodeView[]
  readonly slots: ReadonlyArray<readonly [first: number, last: number]>
  readonly slotCount: number
}

/** The data of `event: cluster`. */
export type Picture = {
  readonly version: string
  readonly shards: readonly ShardView[]
  readonly moving: ReadonlyArray<{
    readonly slot: number
    readonly from: string
    readonly to: string
  }>
}

/** The figures of each shard in the data of `event: figures`; null if unknown. */
export type Figures = {
  readonly id: string
  readonly keys: number | null
  readonly memoryBytes: number | null
  readonly operationsPerSecond: number | null
  readonly entriesPerSecond: number | null
  readonly replicaLagBytes: number | null
}

/**
 * The service orders shards by their first slots. In a picture, a shard must not change its column
 * and colour when slots move: shards that were there before keep their places.
 */
export function inOrder(seen: Picture, before: Picture | undefined): Picture {
  if (before === undefined) return seen
  const known = before.shards.map(({ id }) => id)
  const placeOf = ({ id }: ShardView): number =>
    known.includes(id) ? known.indexOf(id) : known.length
  return { ...seen, shards: seen.shards.toSorted((a, b) => placeOf(a) - placeOf(b)) }
}

/** The index of the shard that owns a slot; -1 while no shard does. */
export const shardOf = ({ shards }: Picture, slot: number): number =>
  shards.findIndex(({ slots }) => slots.some(([first, last]) => first <= slot && slot <= last))

/** A hue for each shard, in degrees. Neighbours differ clearly, for any number of shards. */
export const shardHue = (index: number): number => Math.round((25 + index * 137.508) % 360)
