// Counts messages of users that their commit could not count: while the room's slot is half-moved,
// the log and the counters may be on different nodes. Nobody waits for it, and a crash may lose a
// count: `npm run check -- --repair` corrects a counter, but nothing could bring back a lost
// message.
import { type Cluster } from '../redis/cluster.js'
import { roomSlot, usersKey } from './keys.js'
import { Lanes } from './lanes.js'
import { COUNT } from './user-scripts.js'

type Count = readonly [user: string, count: number]

export class Counting {
  readonly #cluster: Cluster
  readonly #counting: Lanes<Count>

  constructor(cluster: Cluster, groupLengthMax: number, onFault: (error: unknown) => void) {
    this.#cluster = cluster
    this.#counting = new Lanes(
      groupLengthMax,
      (room, group) => this.#count(room, group),
      (_, error) => {
        onFault(error)
      }
    )
  }

  add(room: string, counts: Iterable<Count>): void {
    for (const count of counts) this.#counting.add(room, count)
  }

  /** Resolves when everything added was counted or given up. */
  async settled(): Promise<void> {
    await this.#counting.settled()
  }

  async #count(room: string, group: readonly Count[]): Promise<void> {
    const counts = new Map<string, number>()
    for (const [user, count] of group) counts.set(user, (counts.get(user) ?? 0) + count)
    const args = [...counts].flatMap(([user, count]) => [user, String(count)])
    await this.#cluster.command(roomSlot(room), [
      'EVALSHA',
      COUNT.sha,
      '1',
      usersKey(room),
      ...args
    ])
  }
}
