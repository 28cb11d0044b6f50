// Writes bench/RESHARDING.md and its plots: the steps, the commands with their real output, and the
// counts and measurements.
import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { paragraph } from '../../bench/prose.js'
import { count, time } from '../../src/cli/progress.js'
import { type Distribution } from './distribution.js'
import { drillPlot } from './drill-plot.js'
import { type DrillResult } from './drill-run.js'
import { latencyTable } from './drill-text.js'
import { pauseText } from './figures.js'
import { stoodStillLines } from './lag.js'
import { shareOf } from './weight.js'

export type ReportInput = {
  readonly results: ReadonlyMap<string, DrillResult>
  readonly distribution: { readonly blockLength: number; readonly rows: readonly Distribution[] }
  /** The words after `npm run drill --`. */
  readonly command: string
}

/** @param file the report; the plots are written beside it and named after it */
export function writeReport(file: string, input: ReportInput): void {
  mkdirSync(dirname(file), { recursive: true })
  const plotName = (name: string): string => `${basename(file, '.md')}-${name}.svg`
  for (const [name, result] of input.results) {
    writeFileSync(join(dirname(file), plotName(name)), drillPlot(result))
  }
  writeFileSync(file, reportText(input, plotName))
}

function reportText(
  { results, distribution, command }: ReportInput,
  plotName: (name: string) => string
): string {
  const all = [...results.values()]
  const [first] = all
  const isKept = all.every(({ violations }) => violations.length === 0)
  return [
    '# Resharding and failover without downtime',
    '',
    'The drills write this page themselves. All commands and figures below are from one run of',
    '',
    block(`npm run drill -- ${command}`),
    '',
    paragraph(
      `on ${cpus()[0]?.model.trim() ?? 'a machine'} with ${availableParallelism()} cores and ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release().split('.', 2).join('.')}, Node ${process.version}; services, Redis, writers and readers share them.`
    ),
    ...(first === undefined
      ? []
      : [
          '',
          paragraph(
            'Each drill starts a cluster of three masters with one replica each, and two service processes. ' +
              `Ten writers post to ten rooms: \`lady_gaga\` ${count(10 * first.size.rate)} messages a second, the nine others ${count(first.size.rate)} each. ` +
              `She has already written ${count(first.size.history)} messages to \`room123\`. ${count(first.size.readers)} readers hold streams open, spread over rooms and services. ` +
              'Every answer and every frame is recorded, and compared in the end with what is stored.'
          )
        ]),
    '',
    isKept
      ? '**Nothing was lost, repeated, reordered or refused.**'
      : '**Not all promises were kept, see below.**',
    '',
    summaryTable(results),
    '',
    paragraph(
      'During the failover, POSTs may be answered 503 while no master serves their slots. All others must be answered 201.'
    ),
    '',
    ...[...results].flatMap(([name, result]) => drillSection(result, plotName(name))),
    ...distributionSection(distribution)
  ].join('\n')
}

function summaryTable(results: ReadonlyMap<string, DrillResult>): string {
  const rows = [...results].map(
    ([
      name,
      {
        verdict: { posts, frames },
        latencies,
        pausesMs,
        violations
      }
    ]) => {
      const p99 = (phase: string): string =>
        latencies
          .find(figures => figures.phase === phase && figures.what === 'POST')
          ?.p99.toFixed(1) ?? ''
      return [
        `[${name}](#${anchor(results.get(name)?.drill.title ?? '')})`,
        count(posts.sent),
        count(posts.acknowledged),
        count(posts.failed),
        count(frames.expected),
        count(frames.received),
        count(frames.missing),
        count(frames.repeated),
        count(frames.outOfOrder),
        `${p99('before')} / ${p99('during')} / ${p99('after')}`,
        `${Math.round(Math.max(0, ...pausesMs))}`,
        violations.length === 0 ? 'kept' : '**broken**'
      ]
    }
  )
  const head = [
    'drill',
    'POSTs',
    'acknowledged',
    'failed',
    'frames expected',
    'received',
    'missing',
    'repeated',
    'out of order',
    'POST p99 before / during / after, ms',
    'longest pause of a reader, ms',
    'promises'
  ]
  return markdownTable(head, rows)
}

function drillSection(
  { drill, runs, deeds, verdict, pausesMs, limitLines, violations, ...result }: DrillResult,
  plot: string
): string[] {
  return [
    `## ${drill.title}`,
    '',
    paragraph(`${capital(drill.about)}.`),
    '',
    `![${drill.title}: POSTs, deliveries, latencies and slots over time](${plot})`,
    '',
    ...runs.flatMap(({ words, output, elapsedMs, status }) => [
      block(`$ npm run cluster -- ${words.join(' ')}\n${output}`),
      ...(words[0] === 'status'
        ? ['']
        : [`Took ${time(elapsedMs)}${status === 0 ? '' : `, exit status ${status}`}.`, ''])
    ]),
    'What was done when, in seconds since the load began:',
    '',
    block(
      deeds
        .filter(({ atS }) => atS >= 0)
        .map(({ atS, text }) => `${atS.toFixed(1).padStart(7)}  ${text}`)
        .join('\n')
    ),
    '',
    block(
      latencyTable({ drill, runs, deeds, verdict, pausesMs, limitLines, violations, ...result })
    ),
    '',
    block(
      [
        pauseText(pausesMs),
        ...limitLines,
        ...(result.rightsLine === undefined ? [] : [result.rightsLine])
      ].join('\n')
    ),
    '',
    ...verdict.posts.failures.map(
      ({ what, count: times, firstMs, lastMs }) =>
        `${count(times)} POSTs were answered ${what}, from ${(firstMs / 1000).toFixed(1)} to ${(lastMs / 1000).toFixed(1)} s.\n`
    ),
    ...(verdict.resumedMs.length === 0
      ? []
      : [
          `${paragraph(`After the cluster had replaced the master, the first message for its slots was acknowledged within ${verdict.resumedMs.map(ms => Math.round(ms)).join(' and ')} ms.`)}\n`
        ]),
    ...stoodStillLines(verdict.stoodStill).map(line => `${line}\n`),
    ...violations.map(violation => `- **${violation}**`),
    ''
  ]
}

function distributionSection({ blockLength, rows }: ReportInput['distribution']): string[] {
  const shardCount = rows[0]?.shards.length ?? 0
  return [
    '## The sharding key and the Lady Gaga effect',
    '',
    paragraph(
      'One user writes everything, to one room. Her messages go to blocks `room123.{lady_gaga.0}`, `room123.{lady_gaga.1}` …. ' +
        'The hash tag contains the user and the number of the block, so each block lies on one shard, and the blocks spread over all shards. ' +
        `Measured with blocks of ${count(blockLength)} messages (the default is 1,000; the names are spread in the same way):`
    ),
    '',
    markdownTable(
      [
        'blocks',
        'messages',
        ...Array.from({ length: shardCount }, (_, index) => `shard ${index + 1}`),
        'fullest, of the mean'
      ],
      rows.map(({ blocks, messages, shards }) => [
        count(blocks),
        count(messages),
        ...shards.map(shard => `${count(shard.messages)} in ${count(shard.blocks)}`),
        Math.max(...shards.map(shard => shareOf(shards, shard, 'messages'))).toFixed(2)
      ])
    ),
    '',
    paragraph(
      'Until her first block is full, everything a user writes lies on one shard. The more she writes, the more evenly it spreads over all shards, however many there are. ' +
        'No key holds more than one block, so no move of a slot takes long.'
    ),
    ''
  ]
}

const block = (text: string): string => `\`\`\`\n${text}\n\`\`\``
const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1)
// Anchors as GitHub derives them from headings.
const anchor = (title: string): string =>
  title
    .toLowerCase()
    .replaceAll(/[^\w -]/g, '')
    .replaceAll(' ', '-')

const markdownTable = (head: readonly string[], rows: ReadonlyArray<readonly string[]>): string =>
  [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')
