// What a check can find, and how much of it is kept: every finding is counted, and the first few of
// each kind are listed.

type Kind = { readonly isViolation: boolean; readonly about: string }

export const KINDS = {
  hole: {
    isViolation: true,
    about: 'sequences missing from the log (or expired, if RETENTION_DAYS is not as in the service)'
  },
  'no-reference': { isViolation: true, about: 'log entries that are not references' },
  lost: {
    isViolation: true,
    about:
      'messages that are in the log but not in their block (or expired, if RETENTION_DAYS is not as in the service)'
  },
  'half-changed': { isViolation: true, about: 'changed messages that are still in their block' },
  untold: { isViolation: true, about: 'changes that the log does not announce' },
  undone: {
    isViolation: true,
    about: 'messages that are still there although their deletion was announced'
  },
  'half-deleted': { isViolation: true, about: 'deletions of the room that were not finished' },
  leftover: { isViolation: true, about: 'keys and entries left over from a deleted room' },
  'no-expiry': {
    isViolation: true,
    about: 'keys that never expire although the messages of the room do (RETENTION_DAYS)'
  },
  expiring: {
    isViolation: true,
    about:
      'keys that expire although messages of the room are kept for ever (is RETENTION_DAYS as in the service?)'
  },
  doubled: { isViolation: true, about: 'messages that are in the log twice' },
  counter: { isViolation: true, about: 'users with a wrong count' },
  'tail-misplaced': {
    isViolation: true,
    about: 'tails that do not begin at a segment (is SEGMENT_LENGTH that of the service?)'
  },
  'segment-differs': { isViolation: true, about: 'segments that differ from the tail' },
  'segment-beyond': {
    isViolation: true,
    about:
      'segments beyond the head (the log was rewound, or SEGMENT_LENGTH is not that of the service)'
  },
  unlisted: {
    isViolation: false,
    about: 'members who do not see the room in their list, until they write or are invited again'
  },
  'half-sealed': { isViolation: false, about: 'segments that are sealed but still in the tail' },
  orphan: { isViolation: false, about: 'orphans, which no reader sees' },
  uncommitted: {
    isViolation: false,
    about: 'young entries without a reference, which may still be committed'
  }
} as const satisfies Record<string, Kind>

export type FindingKind = keyof typeof KINDS

export type Finding = {
  readonly kind: FindingKind
  count: number
  /** How many of these were repaired. */
  mended: number
  readonly examples: string[]
}

const EXAMPLES_MAX = 10

export class Findings {
  readonly #findings = new Map<FindingKind, Finding>()

  add(kind: FindingKind, example: string, count = 1): void {
    const finding = this.#finding(kind)
    finding.count += count
    if (finding.examples.length < EXAMPLES_MAX) finding.examples.push(example)
  }

  mend(kind: FindingKind, count: number): void {
    this.#finding(kind).mended += count
  }

  countOf(kind: FindingKind): number {
    return this.#findings.get(kind)?.count ?? 0
  }

  /** In the order of KINDS. */
  list(): Finding[] {
    // Object.keys forgets the type of its keys.
    return Object.keys(KINDS).flatMap(kind => this.#findings.get(kind as FindingKind) ?? [])
  }

  #finding(kind: FindingKind): Finding {
    const known = this.#findings.get(kind)
    if (known !== undefined) return known
    const finding: Finding = { kind, count: 0, mended: 0, examples: [] }
    this.#findings.set(kind, finding)
    return finding
  }
}

/** How many findings are violations that were not repaired. */
export const violationsIn = (findings: readonly Finding[]): number =>
  findings.reduce(
    (sum, { kind, count, mended }) => sum + (KINDS[kind].isViolation ? count - mended : 0),
    0
  )
