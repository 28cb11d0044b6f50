// What rights need to know about the members of rooms. The store implements it.

export type Members = {
  /** A promise only if this process does not know the answer yet. */
  readonly isMember: (room: string, user: string) => boolean | Promise<boolean>
  /**
   * Calls back for each removal that this process hears of, including those by other processes.
   * After that, `isMember` does not return true from earlier knowledge.
   */
  readonly onRemoved: (listener: (room: string, user: string | undefined) => void) => void
  /** Calls back when removals by other processes may have been missed. */
  readonly onMissed: (listener: () => void) => void
}
