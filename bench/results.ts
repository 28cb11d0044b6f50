// Stores the results: bench/results.json has the latest run of each part, and bench/RESULTS.md its
// tables, between markers `<!-- bench:post -->` and `<!-- end -->`. The text around the markers is
// written by hand and stays as it is.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Machine } from './machine.js'
import { carries } from './model.js'
import { type Costs } from './part.js'
import { paragraph } from './prose.js'
import { resultOf, tableMarkdown, type TableResult } from './table.js'

/** The result of one part. */
export type Measured = {
  readonly part: string
  readonly rounds: number
  /** How long it took. */
  readonly seconds: number
  readonly at: string
  readonly machine: Machine
  readonly tables: readonly TableResult[]
  readonly costs: Costs
}

// This file is dist/bench/results.js when it runs.
const FOLDER = new URL('../../bench/', import.meta.url)

/**
 * Replaces the earlier results of the measured parts.
 * @throws Error when RESULTS.md has no markers for one of them
 */
export function record(measured: readonly Measured[], folder: URL = FOLDER): void {
  const json = new URL('results.json', folder)
  const page = new URL('RESULTS.md', folder)
  // Nobody else writes this file.
  const known = existsSync(json) ? (JSON.parse(readFileSync(json, 'utf8')) as Measured[]) : []
  const all = [
    ...known.filter(({ part }) => !measured.some(newer => newer.part === part)),
    ...measured
  ]
  let text = readFileSync(page, 'utf8')
  for (const one of measured) text = replaced(text, one.part, partMarkdown(one))
  text = replaced(text, 'carries', carriesMarkdown(all))
  // Written only after every table was placed.
  writeFileSync(json, JSON.stringify(all, null, 2) + '\n')
  writeFileSync(page, text)
  console.error(`Recorded in ${fileURLToPath(page)}`)
}

/** Replaces the text between the markers of a name. */
export function replaced(text: string, name: string, content: string): string {
  const begin = `<!-- bench:${name} -->`
  const end = '<!-- end -->'
  const from = text.indexOf(begin)
  const to = text.indexOf(end, from)
  if (from < 0 || to < 0) {
    throw new Error(
      `RESULTS.md has no place for ${name}: put ${begin} and ${end} where its tables should stand`
    )
  }
  return `${text.slice(0, from + begin.length)}\n${content}\n${text.slice(to)}`
}

function partMarkdown({ part, rounds, seconds, at, machine, tables }: Measured): string {
  const { processor, processors, memoryGb, system, node, redis, nginx, commit } = machine
  const where =
    `\`npm run bench -- ${part}\`, ${rounds} rounds, ${seconds} s in all, ${at.slice(0, 10)}, commit ${commit}. ` +
    `${processors} × ${processor}, ${memoryGb} GB, ${system}, Node ${node}, Redis ${redis}, nginx ${nginx}.`
  return [paragraph(where), ...tables.map(tableMarkdown)].join('\n\n')
}

function carriesMarkdown(all: readonly Measured[]): string {
  const tables = carries(Object.assign({}, ...all.map(({ costs }) => costs)))
  return tables === undefined
    ? 'Needs the parts post and fanout.'
    : tables.map(table => tableMarkdown(resultOf(table, true))).join('\n\n')
}
