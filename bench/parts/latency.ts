// The time from POST sent to frame received at a moderate rate: 1,000 messages per second over 100
// rooms with a reader each. Compared with Nchan on the same Redis Cluster, measured by the same
// client.
import { newRoom } from '../names.js'
import { type Bench, type Part } from '../part.js'
import { Program } from '../program.js'
import type { Latencies, LatencyMethods } from '../programs/latency.js'
import { atMost, missingRow, ratios, row } from '../table.js'
import { isMissing, type Target } from '../targets/target.js'

const ROOMS = 100
const RATE = 1000
const TEXT_BYTES = 100
const USER = 'bench-user'
const WARM_UP_SECONDS = 2
const FIGURES = [
  ['p50', 'p50Ms', atMost(3)],
  ['p99', 'p99Ms', atMost(15)]
] as const

export const latency: Part = {
  name: 'latency',
  about: 'from POST sent to frame received, beside Nchan',
  rounds: 5,
  seconds: 10,
  run: async bench => {
    const dialogs = await bench.dialogs()
    const nchan = await bench.nchan(dialogs)
    const program = await bench.keep(new Program<LatencyMethods>('latency'))
    const rate = bench.size(RATE, 200)
    const rooms = bench.size(ROOMS, 10)

    const measured = await bench.interleave<Latencies>(
      [dialogs, ...(isMissing(nchan) ? [] : [nchan])].map(target => ({
        name: target.name,
        measure: () => measure(bench, program, target, rooms, rate)
      }))
    )
    const samples = (name: string, figure: keyof Latencies): number[] =>
      (measured.get(name) ?? []).map(latencies => latencies[figure])
    const sum = (name: string, figure: keyof Latencies): number =>
      samples(name, figure).reduce((sum, value) => sum + value, 0)

    return {
      tables: [
        {
          title: `${rate} messages a second over ${rooms} rooms, a reader in each`,
          rows: [
            ...FIGURES.map(([name, figure, goal]) =>
              row(`Dialogs, ${name}`, 'ms', samples(dialogs.name, figure), goal)
            ),
            row('Dialogs, longest', 'ms', samples(dialogs.name, 'maxMs')),
            ...FIGURES.map(([name, figure]) =>
              isMissing(nchan)
                ? missingRow(`${nchan.name}, ${name}`, 'ms', nchan.why)
                : row(`${nchan.name}, ${name}`, 'ms', samples(nchan.name, figure))
            ),
            // The goal is below Nchan's in the same run: a ratio of at most 1.
            ...FIGURES.map(([name, figure]) =>
              isMissing(nchan)
                ? missingRow(`Dialogs over ${nchan.name}, ${name}`, '×', nchan.why, atMost(1))
                : row(
                    `Dialogs over ${nchan.name}, ${name}`,
                    '×',
                    ratios(samples(dialogs.name, figure), samples(nchan.name, figure)),
                    atMost(1)
                  )
            ),
            row(
              'the client itself sent late by at most, with Dialogs',
              'ms',
              samples(dialogs.name, 'lateMsMax')
            )
          ],
          notes: [dialogs.name, ...(isMissing(nchan) ? [] : [nchan.name])].map(
            name =>
              `${name}: ${sum(name, 'sent')} messages sent, ${sum(name, 'lost')} not received, ${sum(name, 'failed')} failed.`
          )
        }
      ]
    }
  }
}

async function measure(
  bench: Bench,
  program: Program<LatencyMethods>,
  target: Target,
  roomCount: number,
  rate: number
): Promise<Latencies> {
  const room = newRoom()
  await program.call(
    'open',
    Array.from({ length: roomCount }, (_, index) => {
      const name = `${room}-${index}`
      return {
        name,
        readers: [{ url: target.url, stream: target.stream(name) }],
        writers: [{ url: target.url, user: USER }]
      }
    })
  )
  try {
    return await program.call('load', {
      rate,
      warmUpSeconds: bench.size(WARM_UP_SECONDS, 0.2),
      seconds: bench.scale.seconds,
      textBytes: TEXT_BYTES
    })
  } finally {
    await program.call('close', null)
  }
}
