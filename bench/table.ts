// The figures of a benchmark: one row for each measurement, with a sample for each round, the
// median, and the goal if there is one. Formats them for a terminal, as Markdown for RESULTS.md,
// and as plain data. Measures nothing.

import { paragraph } from './prose.js'

export type Goal = { readonly is: '≥' | '≤'; readonly value: number }

export type Row = {
  readonly what: string
  /** `/s`, `ms`, `×`, `KB` …: comes after each number. */
  readonly unit: string
  /** One sample for each round; none if it could not be measured. */
  readonly samples: readonly number[]
  readonly goal?: Goal | undefined
  /** Why there are no samples. */
  readonly missing?: string | undefined
}

export type Table = {
  readonly title: string
  readonly rows: readonly Row[]
  readonly notes?: readonly string[]
}

export const row = (what: string, unit: string, samples: readonly number[], goal?: Goal): Row => ({
  what,
  unit,
  samples,
  goal
})

/** A row for a peer that is not installed. The goal is still shown. */
export const missingRow = (what: string, unit: string, missing: string, goal?: Goal): Row => ({
  what,
  unit,
  samples: [],
  goal,
  missing
})

export const atLeast = (value: number): Goal => ({ is: '≥', value })
export const atMost = (value: number): Goal => ({ is: '≤', value })

/** A row as JSON: `isMet` is null without a goal, without samples, and in a short run. */
export type Result = {
  readonly what: string
  readonly unit: string
  readonly median: number | null
  readonly min: number | null
  readonly max: number | null
  readonly samples: readonly number[]
  readonly goal: Goal | null
  readonly isMet: boolean | null
  readonly missing: string | null
}

export type TableResult = {
  readonly title: string
  readonly rows: readonly Result[]
  readonly notes: readonly string[]
}

export function resultOf({ title, rows, notes = [] }: Table, isJudged: boolean): TableResult {
  return { title, notes, rows: rows.map(row => rowResult(row, isJudged)) }
}

function rowResult({ what, unit, samples, goal, missing }: Row, isJudged: boolean): Result {
  const isMeasured = samples.length > 0 && samples.every(Number.isFinite)
  const middle = isMeasured ? median(samples) : null
  return {
    what,
    unit,
    median: middle,
    min: isMeasured ? Math.min(...samples) : null,
    max: isMeasured ? Math.max(...samples) : null,
    samples: isMeasured ? samples : [],
    goal: goal ?? null,
    isMet:
      goal === undefined || middle === null || !isJudged
        ? null
        : goal.is === '≥'
          ? middle >= goal.value
          : middle <= goal.value,
    missing: isMeasured ? null : (missing ?? 'not measured')
  }
}

/** The middle sample, or the mean of the two in the middle. */
export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length / 2
  // With an even number of samples, the index lies between two of them.
  return Number.isInteger(middle)
    ? ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
    : (sorted[Math.floor(middle)] ?? Number.NaN)
}

/** The ratio of each round, so that whatever slowed a round down affected both samples. */
export function ratios(over: readonly number[], under: readonly number[]): number[] {
  return over.map((value, round) => value / (under[round] ?? Number.NaN))
}

/** `12,345`, `123`, `1.23`, `0.00123`: at least three digits. */
export function figure(value: number): string {
  if (value === 0 || Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(3)))
}

const HEADINGS = ['measured', 'median', 'from … to', 'figure', 'met']

function cells({ what, unit, median, min, max, goal, isMet, missing }: Result): string[] {
  const withUnit = (value: number): string =>
    unit === '/s' || unit === '%' || unit === ''
      ? `${figure(value)}${unit}`
      : `${figure(value)} ${unit}`
  return [
    what,
    median === null ? (missing ?? '') : withUnit(median),
    min === null || max === null || min === max ? '' : `${figure(min)} … ${figure(max)}`,
    goal === null ? '' : `${goal.is} ${withUnit(goal.value)}`,
    isMet === null ? (goal === null ? '' : '–') : isMet ? 'yes' : 'NO'
  ]
}

/** Aligned columns for a terminal. */
export function tableText({ title, rows, notes }: TableResult): string {
  const lines = [HEADINGS, ...rows.map(cells)]
  const widths = HEADINGS.map((_, column) =>
    Math.max(...lines.map(line => [...(line[column] ?? '')].length))
  )
  const text = lines.map(line =>
    line
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - [...cell].length))
      .join('  ')
      .trimEnd()
  )
  return [title, ...text.map(line => `  ${line}`), ...notes.map(note => `  ${note}`)].join('\n')
}

export function tableMarkdown({ title, rows, notes }: TableResult): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
  const table = [line(HEADINGS), '|---|---:|---:|---:|---|', ...rows.map(row => line(cells(row)))]
  return [`**${title}**`, '', ...table, ...notes.flatMap(note => ['', paragraph(note)])].join('\n')
}
