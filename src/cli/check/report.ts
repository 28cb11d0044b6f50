// Reports what a check found, for people or for programs. Rooms are written as they are checked;
// only totals are kept.
import { count, counted } from '../progress.js'
import { type Finding, KINDS, violationsIn } from './finding.js'
import { type RoomReport } from './room-check.js'

export class Report {
  readonly #isJson: boolean
  readonly #write: (text: string) => void
  #rooms = 0
  #messages = 0
  #violations = 0
  #wrongRooms = 0

  constructor(isJson: boolean, write: (text: string) => void) {
    this.#isJson = isJson
    this.#write = write
  }

  /** Violations that were not repaired. */
  get violations(): number {
    return this.#violations
  }

  add(room: RoomReport): void {
    const violations = violationsIn(room.findings)
    this.#rooms++
    this.#messages += room.head
    this.#violations += violations
    if (violations > 0) this.#wrongRooms++
    if (this.#isJson) {
      this.#write(
        `${this.#rooms === 1 ? '{"rooms":[\n' : ',\n'}${JSON.stringify({ ...room, violations })}`
      )
    } else this.#write(`${textOf(room, violations)}\n`)
  }

  end(): void {
    const [rooms, messages, violations, wrongRooms] = [
      this.#rooms,
      this.#messages,
      this.#violations,
      this.#wrongRooms
    ]
    if (this.#isJson) {
      this.#write(
        `${rooms === 0 ? '{"rooms":[' : ''}\n],"total":${JSON.stringify({ rooms, messages, violations, wrongRooms })}}\n`
      )
    } else {
      this.#write(
        `${counted(rooms, 'room')}, ${counted(messages, 'message')}: ${violations === 0 ? 'nothing is wrong' : `${counted(violations, 'violation')} in ${counted(wrongRooms, 'room')}`}\n`
      )
    }
  }
}

function textOf(
  { room, head, users, blocks, segments, findings }: RoomReport,
  violations: number
): string {
  const size = `${counted(head, 'message')} of ${counted(users, 'user')}, ${counted(blocks, 'block')}, ${counted(segments, 'segment')}`
  const lines = [
    `${room}: ${size}: ${violations === 0 ? 'nothing is wrong' : counted(violations, 'violation')}`
  ]
  for (const finding of findings) {
    lines.push(`  ${KINDS[finding.kind].isViolation ? '✗' : '·'} ${headOf(finding)}`)
    for (const example of finding.examples) lines.push(`      ${example}`)
    if (finding.kind !== 'hole' && finding.count > finding.examples.length) {
      lines.push(`      and ${count(finding.count - finding.examples.length)} more`)
    }
  }
  return lines.join('\n')
}

function headOf({ kind, count: found, mended }: Finding): string {
  const put = mended === 0 ? '' : mended === found ? ' (repaired)' : ` (${count(mended)} repaired)`
  return `${KINDS[kind].about}: ${count(found)}${put}`
}
