// What rights need to know of rooms' members. The store implements it; until it does, nobody is a
// member of anything.

export type Members = {
  /** A promise only where it is not known in this process yet. */
  readonly isMember: (room: string, user: string) => boolean | Promise<boolean>
  /**
   * Calls back for each removal that this process hears of, also one that happened elsewhere. From
   * then on `isMember` does not answer true from what was known before.
   */
  readonly onRemoved: (listener: (room: string, user: string) => void) => void
}

export const NO_MEMBERS: Members = {
  isMember: () => false,
  onRemoved: () => undefined
}
