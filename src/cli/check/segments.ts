// Compares a room's sealed segments with its tail. While sealing is in progress or was interrupted,
// both hold the same sequences; their references must be equal. No segment may reach beyond the
// head. Entries below the tail are checked by walking the log.
import { type Cluster } from '../../redis/cluster.js'
import { logKey, segmentKey } from '../../store/keys.js'
import { slotOf } from '../../redis/slots.js'
import { type Log } from '../../store/log.js'
import { type LogEntry, parseEntries } from '../../store/pieces.js'
import { type Findings } from './finding.js'

export class Segments {
  readonly #cluster: Cluster
  readonly #log: Log
  readonly #room: string
  #deletedTo = 0

  constructor(cluster: Cluster, log: Log, room: string) {
    this.#cluster = cluster
    this.#log = log
    this.#room = room
  }

  /**
   * @param segments the numbers of the existing segments, all of them after the last deletion
   * @param seal repairs a sealing that was interrupted; undefined to report it only
   */
  async check(
    segments: Iterable<number>,
    seal: (() => Promise<void>) | undefined,
    findings: Findings
  ): Promise<void> {
    const { segmentLength } = this.#log
    const tailFirst = await this.#tailFirst()
    this.#deletedTo = (await this.#log.deletion(this.#room)).seq
    // After a deletion the log may begin in the middle of a segment.
    if ((tailFirst - 1) % segmentLength !== 0 && tailFirst !== this.#deletedTo) {
      findings.add('tail-misplaced', `it begins at ${tailFirst}, segments have ${segmentLength}`)
    }
    const halfSealed: number[] = []
    for (const segment of [...segments].sort((a, b) => a - b)) {
      const [first, last] = [segment * segmentLength + 1, (segment + 1) * segmentLength]
      const head = (await this.#log.head(this.#room))?.seq ?? 0
      if (last > head) {
        findings.add(
          'segment-beyond',
          `segment ${segment} covers ${first} to ${last}, but the head is ${head}`
        )
      }
      // Sealing may replace a segment between the two reads.
      else if (
        last >= tailFirst &&
        !(await this.#isSame(segment)) &&
        !(await this.#isSame(segment))
      ) {
        findings.add('segment-differs', `segment ${segment}, of ${first} to ${last}`)
      } else if (last >= (await this.#tailFirst())) halfSealed.push(segment)
    }
    for (const segment of halfSealed) findings.add('half-sealed', `segment ${segment}`)
    if (halfSealed.length === 0 || seal === undefined) return
    await seal()
    const now = await this.#tailFirst()
    findings.mend(
      'half-sealed',
      halfSealed.filter(segment => (segment + 1) * segmentLength < now).length
    )
  }

  async #tailFirst(): Promise<number> {
    return (await this.#read(logKey(this.#room), '-', '+', 'COUNT', '1'))[0]?.seq ?? 1
  }

  // What the tail still holds of a complete segment must be equal. The segment is read first,
  // because the tail only gets shorter.
  async #isSame(segment: number): Promise<boolean> {
    const { segmentLength } = this.#log
    const last = (segment + 1) * segmentLength
    const first = Math.max(segment * segmentLength + 1, this.#deletedTo)
    const sealed = await this.#read(segmentKey(this.#room, segment), '-', '+')
    const tail = await this.#read(logKey(this.#room), `0-${first}`, `0-${last}`)
    const references = new Map(sealed.map(({ seq, reference }) => [seq, reference]))
    return (
      sealed.length === last - first + 1 &&
      tail.every(({ seq, reference }) => references.get(seq) === reference)
    )
  }

  async #read(key: string, ...range: string[]): Promise<LogEntry[]> {
    return parseEntries(await this.#cluster.read(slotOf(key), ['XRANGE', key, ...range]))
  }
}
