// Very many quiet rooms with a reader each: the commands that the service sends because of them, as
// Redis counts them, and its processor time. Compared with the same process without any reader.
import { setTimeout as sleep } from 'node:timers/promises'
import { newRoom } from '../names.js'
import { type Part } from '../part.js'
import { Program } from '../program.js'
import type { ReadersMethods } from '../programs/readers.js'
import { callsOf, spentBetween } from '../redis-nodes.js'
import { atMost, row } from '../table.js'
import { type Dialogs } from '../targets/dialogs.js'
import { between, cpuSeconds } from '../usage.js'

type Idle = {
  readonly commands: number
  /** The most frequent commands, for the notes. */
  readonly names: string
  readonly cpu: number | undefined
  readonly redisCpu: number
}

const LIVE_MS_MAX = 120_000
/** How long until everything that opening the rooms has started is over. */
const SETTLE_MS = 5000
/** Commands that replicas send to their masters. */
const BETWEEN_NODES = ['replconf', 'psync']
const NAMED = 6

export const idle: Part = {
  name: 'idle',
  about: 'commands and processor time that quiet rooms cost',
  rounds: 3,
  seconds: 60,
  run: async bench => {
    const rooms = bench.size(15_000, 50)
    const dialogs = await bench.dialogs()
    const readers = await bench.keep(new Program<ReadersMethods>('readers'))
    const idle = await bench.interleave<Idle>([
      {
        name: `${rooms} rooms`,
        measure: async () => {
          await dialogs.restart()
          const room = newRoom()
          await readers.call('open', {
            url: dialogs.url,
            streams: Array.from({ length: rooms }, (_, index) =>
              dialogs.stream(`${room}-${index}`)
            ),
            count: rooms,
            frameBytesMin: 0,
            deadlineMs: LIVE_MS_MAX,
            isPatient: true
          })
          try {
            return await measure(dialogs, bench.scale.seconds)
          } finally {
            await readers.call('close', null)
          }
        }
      },
      {
        name: 'no rooms',
        measure: async () => {
          await dialogs.restart()
          return await measure(dialogs, bench.scale.seconds)
        }
      }
    ])
    const samples = (name: string, figure: 'commands' | 'cpu' | 'redisCpu'): number[] =>
      (idle.get(name) ?? []).map(sample => sample[figure] ?? Number.NaN)
    const named = `${rooms} rooms`
    return {
      tables: [
        {
          title: `${rooms} quiet rooms with a reader each`,
          rows: [
            row(
              'commands to Redis, those in scripts too',
              '/s',
              samples(named, 'commands'),
              atMost(50)
            ),
            row('the same without a room', '/s', samples('no rooms', 'commands')),
            row(
              'processor time of the service, of one processor',
              '%',
              samples(named, 'cpu'),
              atMost(1)
            ),
            row('the same without a room', '%', samples('no rooms', 'cpu')),
            row('processor time of the three masters', '%', samples(named, 'redisCpu')),
            row('the same without a room', '%', samples('no rooms', 'redisCpu'))
          ],
          notes: [
            `Commands in a second of the last round: ${(idle.get(named) ?? []).at(-1)?.names ?? ''}. The masters are asked by nobody else; what replicas tell them is not counted. Each reader gets a heartbeat every 15 s.`
          ]
        }
      ]
    }
  }
}

async function measure(dialogs: Dialogs, seconds: number): Promise<Idle> {
  await sleep(SETTLE_MS)
  const before = await dialogs.redis.counters()
  const cpuBefore = cpuSeconds(dialogs.pid)
  const startedMs = performance.now()
  await sleep(1000 * seconds)
  const cpu = between(cpuBefore, cpuSeconds(dialogs.pid))
  const { masters } = spentBetween(before, await dialogs.redis.counters())
  const passed = (performance.now() - startedMs) / 1000
  const names = [...masters.commands]
    .filter(([name, calls]) => calls > 0 && !BETWEEN_NODES.includes(name))
    .sort(([, a], [, b]) => b - a)
  return {
    commands: (callsOf(masters) - callsOf(masters, BETWEEN_NODES)) / passed,
    names: names
      .slice(0, NAMED)
      .map(([name, calls]) => `${name} ${(calls / passed).toFixed(1)}`)
      .join(', '),
    cpu: cpu === undefined ? undefined : (100 * cpu) / passed,
    redisCpu: (100 * masters.cpuSeconds) / passed
  }
}
