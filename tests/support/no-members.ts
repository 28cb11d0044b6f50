// Rooms without members, for tests of tokens in which membership decides nothing.
import { type Members } from '../../src/identity/members.js'

export const NO_MEMBERS: Members = {
  isMember: () => false,
  onRemoved: () => undefined,
  onMissed: () => undefined
}
