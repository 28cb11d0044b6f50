// Very many idle readers: the memory of each in the service's process, and the processor time of
// all of them, with heartbeats and audits. Compared with a bare Node HTTP stream that is held open
// and silent, which is the least that a reader can cost in Node.
import { setTimeout as sleep } from 'node:timers/promises'
import { newRoom } from '../names.js'
import { type Bench, type Part } from '../part.js'
import { Program } from '../program.js'
import type { ReadersMethods } from '../programs/readers.js'
import { atMost, row } from '../table.js'
import { startBareFastify } from '../targets/server.js'
import { type Target } from '../targets/target.js'
import { between, cpuSeconds, settledMemoryBytes } from '../usage.js'

type Idle = { readonly kilobytes: number | undefined; readonly cpu: number | undefined }

const ROOMS = 100
const LIVE_MS_MAX = 120_000
const KILOBYTE = 1024

export const connections: Part = {
  name: 'connections',
  about: 'memory and processor time that idle readers cost',
  rounds: 3,
  seconds: 30, // two heartbeats of 15 s
  run: async bench => {
    const readerCount = bench.size(9000, 100)
    const dialogs = await bench.dialogs()
    const readers = await bench.keep(new Program<ReadersMethods>('readers'))
    const idle = await bench.interleave<Idle>([
      // A new process each time, because freed memory does not all go back to the system.
      {
        name: 'Dialogs',
        measure: async () => {
          await dialogs.restart()
          return await measure(readers, dialogs, readerCount, bench.scale.seconds)
        }
      },
      { name: 'bare', measure: () => measureBare(bench, readers, readerCount) }
    ])
    const samples = (name: string, figure: keyof Idle): number[] =>
      (idle.get(name) ?? []).map(idle => idle[figure] ?? Number.NaN)
    return {
      tables: [
        {
          title: `${readerCount} idle readers over ${ROOMS} rooms`,
          rows: [
            row(
              "memory of the service's process for a reader",
              'KB',
              samples('Dialogs', 'kilobytes'),
              atMost(12)
            ),
            row(
              'memory of a bare Node process for a stream that is held open',
              'KB',
              samples('bare', 'kilobytes')
            ),
            row(
              'processor time of the service, of one processor',
              '%',
              samples('Dialogs', 'cpu'),
              atMost(5)
            )
          ],
          notes: [
            'Memory is the proportional set size after garbage was collected, with the readers less without them; what the kernel keeps for a socket is not in it.'
          ]
        }
      ]
    }
  }
}

async function measure(
  readers: Program<ReadersMethods>,
  target: Target,
  count: number,
  seconds: number
): Promise<Idle> {
  const room = newRoom()
  const streams = Array.from({ length: ROOMS }, (_, index) => target.stream(`${room}-${index}`))
  const before = await settledMemoryBytes(target.pid)
  await readers.call('open', {
    url: target.url,
    streams,
    count,
    frameBytesMin: 0,
    deadlineMs: LIVE_MS_MAX
  })
  try {
    const after = await settledMemoryBytes(target.pid)
    const bytes = between(before, after)
    const cpuBefore = cpuSeconds(target.pid)
    await sleep(1000 * seconds)
    const cpu = between(cpuBefore, cpuSeconds(target.pid))
    return {
      kilobytes: bytes === undefined ? undefined : bytes / count / KILOBYTE,
      cpu: cpu === undefined ? undefined : (cpu / seconds) * 100
    }
  } finally {
    await readers.call('close', null)
  }
}

// Silent streams do not have to be waited for.
async function measureBare(
  bench: Bench,
  readers: Program<ReadersMethods>,
  count: number
): Promise<Idle> {
  const bare = await startBareFastify()
  try {
    return await measure(readers, bare, count, bench.size(1, 0.1))
  } finally {
    await bare.stop()
  }
}
