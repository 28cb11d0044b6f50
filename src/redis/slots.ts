// Redis Cluster's hash slots (Redis Cluster specification, "Key distribution model").
import calculateSlot from 'cluster-key-slot'

export const SLOT_COUNT = 16384

/** The hash slot of a key, 0 to 16383, by the tag between the first `{` and the next `}`. */
export const slotOf = (key: string): number => calculateSlot(key)
