// Names that nobody has used before, and about as long as people's are: they stand in every frame, reference and key, so that long ones
// would be measured too.
import { randomBytes } from 'node:crypto'

export const newRoom = (): string => `room-${randomBytes(4).toString('hex')}`

/** For `<prefix>1`, `<prefix>2` …. */
export const newUserPrefix = (): string => `u${randomBytes(3).toString('hex')}-`
