// New names that are about as long as people's names. Names are part of every frame, reference and
// key, so long ones would distort the figures.
import { randomBytes } from 'node:crypto'

export const newRoom = (): string => `room-${randomBytes(4).toString('hex')}`

/** Makes the names `<prefix>1`, `<prefix>2` …. */
export const newUserPrefix = (): string => `u${randomBytes(3).toString('hex')}-`
