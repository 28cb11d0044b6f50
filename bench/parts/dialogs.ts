// The main workload: thousands of dialogs between two people, on two processes of the service. The
// two people of a dialog read at different processes, and write through them in turn. Measures the
// time from POST to frame and the processor time of a message at several rates, how long readers of
// as many different rooms take to be live after a restart, and the memory of a room.
import { newRoom } from '../names.js'
import { type Bench, type Part } from '../part.js'
import { Program } from '../program.js'
import type { Latencies, LatencyMethods, LatencyRoom } from '../programs/latency.js'
import type { ReadersMethods } from '../programs/readers.js'
import { callsOf, spentBetween, type Counters } from '../redis-nodes.js'
import { atMost, row, type Table } from '../table.js'
import { type Dialogs } from '../targets/dialogs.js'
import { between, cpuSeconds, settledMemoryBytes } from '../usage.js'

type Load = Latencies & {
  readonly serviceUs: number
  readonly redisUs: number
  readonly commands: number
}
type Start = { readonly liveSeconds: number; readonly cpu: number; readonly commands: number }

const ROOMS = 5000
const RATES = [500, 1000, 2000, 4000]
const P99_MS_MAX = new Map([
  [1000, 8],
  [4000, 40]
])
const TEXT_BYTES = 100
const WARM_UP_SECONDS = 2
const LIVE_MS_MAX = 120_000
const MICROSECONDS = 1e6
const KILOBYTE = 1024

export const dialogs: Part = {
  name: 'dialogs',
  about: '5,000 dialogs of two people on two processes: latency, cost, restart, memory',
  rounds: 3,
  seconds: 10,
  run: async bench => {
    const service = await bench.dialogs(2)
    const program = await bench.keep(new Program<LatencyMethods>('latency'))
    const readers = await bench.keep(new Program<ReadersMethods>('readers'))
    const names = namesOf(bench.size(ROOMS, 50))
    const rates = bench.scale.isShort ? [50] : RATES

    const memory = await memoryOfRooms(bench, service, readers, names.length)
    const loads = await underLoad(bench, service, program, names, rates)
    const starts = await bench.interleave<Start>([
      { name: 'restart', measure: () => restart(service, readers, names) }
    ])
    return {
      tables: [
        ...rates.map(rate => loadTable(rate, names.length, loads.get(caseOf(rate)) ?? [])),
        startTable(names.length, starts.get('restart') ?? [], memory)
      ]
    }
  }
}

const caseOf = (rate: number): string => `${rate} a second`

function namesOf(count: number): string[] {
  const room = newRoom()
  return Array.from({ length: count }, (_, index) => `${room}-${index}`)
}

async function underLoad(
  bench: Bench,
  service: Dialogs,
  program: Program<LatencyMethods>,
  names: readonly string[],
  rates: readonly number[]
): Promise<Map<string, Load[]>> {
  bench.say(`opening two readers of each of ${names.length} rooms`)
  await program.call(
    'open',
    names.map(name => roomOf(service, name))
  )
  try {
    return await bench.interleave<Load>(
      rates.map(rate => ({
        name: caseOf(rate),
        measure: () => measure(bench, service, program, rate)
      }))
    )
  } finally {
    await program.call('close', null)
  }
}

function roomOf(service: Dialogs, name: string): LatencyRoom {
  return {
    name,
    readers: service.urls.map(url => ({ url, stream: service.stream(name) })),
    writers: service.urls.map((url, index) => ({ url, user: `${name}-${index}` }))
  }
}

async function measure(
  bench: Bench,
  service: Dialogs,
  program: Program<LatencyMethods>,
  rate: number
): Promise<Load> {
  const before = await service.redis.counters()
  const cpuBefore = cpuOf(service)
  const load = await program.call('load', {
    rate,
    warmUpSeconds: bench.size(WARM_UP_SECONDS, 0.2),
    seconds: bench.scale.seconds,
    textBytes: TEXT_BYTES
  })
  const cpu = between(cpuBefore, cpuOf(service)) ?? Number.NaN
  const spent = spentBetween(before, await service.redis.counters())
  return {
    ...load,
    serviceUs: (cpu / load.posted) * MICROSECONDS,
    redisUs: (redisSeconds(spent) / load.posted) * MICROSECONDS,
    commands: callsOf(spent.masters) / load.posted
  }
}

const redisSeconds = ({ masters, replicas }: Counters): number =>
  masters.cpuSeconds + replicas.cpuSeconds

/** Of all its processes. */
const cpuOf = (service: Dialogs): number | undefined =>
  service.pids.reduce<number | undefined>((sum, pid) => {
    const seconds = cpuSeconds(pid)
    return sum === undefined || seconds === undefined ? undefined : sum + seconds
  }, 0)

// The rooms have messages. The readers resume at the head, as those of a restarted process do.
async function restart(
  service: Dialogs,
  readers: Program<ReadersMethods>,
  names: readonly string[]
): Promise<Start> {
  await service.restart()
  const before = await service.redis.counters()
  const cpuBefore = cpuSeconds(service.pid)
  try {
    const { liveMs } = await openAll(service, readers, names)
    const spent = spentBetween(before, await service.redis.counters())
    return {
      liveSeconds: liveMs / 1000,
      cpu: between(cpuBefore, cpuSeconds(service.pid)) ?? Number.NaN,
      commands: callsOf(spent.masters) / names.length
    }
  } finally {
    await readers.call('close', null)
  }
}

const openAll = (
  service: Dialogs,
  readers: Program<ReadersMethods>,
  names: readonly string[]
): Promise<{ readonly liveMs: number }> =>
  readers.call('open', {
    url: service.url,
    streams: names.map(name => service.stream(name)),
    count: names.length,
    frameBytesMin: 0,
    deadlineMs: LIVE_MS_MAX
  })

/**
 * Memory in KB of the process for each room with a reader, and for each reader if they share a
 * room.
 */
async function memoryOfRooms(
  bench: Bench,
  service: Dialogs,
  readers: Program<ReadersMethods>,
  count: number
): Promise<{ readonly perRoom: number; readonly perReader: number }> {
  const spent = async (names: readonly string[]): Promise<number> => {
    await service.restart()
    const before = await settledMemoryBytes(service.pid)
    try {
      await openAll(service, readers, names)
      const bytes = between(before, await settledMemoryBytes(service.pid)) ?? Number.NaN
      return bytes / count / KILOBYTE
    } finally {
      await readers.call('close', null)
    }
  }
  bench.say('measuring the memory of rooms')
  const [one = ''] = namesOf(1)
  const perReader = await spent(Array.from({ length: count }, () => one))
  return { perReader, perRoom: (await spent(namesOf(count))) - perReader }
}

function loadTable(rate: number, rooms: number, loads: readonly Load[]): Table {
  const samples = (figure: keyof Load): number[] => loads.map(load => load[figure])
  const sum = (figure: keyof Load): number => samples(figure).reduce((sum, value) => sum + value, 0)
  const goal = P99_MS_MAX.get(rate)
  return {
    title: `${rate} messages a second over ${rooms} dialogs`,
    rows: [
      row('from POST to frame, p50', 'ms', samples('p50Ms')),
      row('p99', 'ms', samples('p99Ms'), goal === undefined ? undefined : atMost(goal)),
      row('p99.9', 'ms', samples('p999Ms')),
      row('processor time of the service, for a message', 'µs', samples('serviceUs')),
      row('processor time of Redis, replicas too', 'µs', samples('redisUs')),
      row('commands on the masters, for a message', '', samples('commands')),
      row('the client itself sent late by at most', 'ms', samples('lateMsMax'))
    ],
    notes: [
      `${sum('sent')} frames to be received, ${sum('lost')} not received in time, ${sum('failed')} requests failed.`
    ]
  }
}

function startTable(
  rooms: number,
  starts: readonly Start[],
  { perRoom, perReader }: { readonly perRoom: number; readonly perReader: number }
): Table {
  return {
    title: `A process restarts: ${rooms} readers of as many rooms`,
    rows: [
      row(
        'from the first connection until all are live',
        's',
        starts.map(({ liveSeconds }) => liveSeconds),
        atMost(1)
      ),
      row(
        'processor time of the service for that',
        's',
        starts.map(({ cpu }) => cpu)
      ),
      row(
        'commands on the masters, for a room',
        '',
        starts.map(({ commands }) => commands)
      ),
      row("memory of the service's process for a room", 'KB', [perRoom]),
      row('for a reader, when all read one room', 'KB', [perReader])
    ]
  }
}
