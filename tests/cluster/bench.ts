import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { fileURLToPath, pathToFileURL } from 'node:url'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { fill, filledBlocks, newFilling } from '../../bench/fill.js'
import { type Machine } from '../../bench/machine.js'
import { carries } from '../../bench/model.js'
import { RedisNodes } from '../../bench/redis-nodes.js'
import { record, replaced, type Measured } from '../../bench/results.js'
import { SocketIoCounter } from '../../bench/socketio-counter.js'
import { SseCounter } from '../../bench/sse-counter.js'
import {
  atLeast,
  atMost,
  median,
  missingRow,
  ratios,
  resultOf,
  row,
  tableMarkdown,
  tableText,
  type TableResult
} from '../../bench/table.js'
import { readStored } from '../drills/stored.js'
import { startCluster, temporaryDir } from '../support/embedded.js'
import { startService } from '../support/service.js'

const BENCH = fileURLToPath(new URL('../../bench/bench.js', import.meta.url))
const RESULTS = fileURLToPath(new URL('../../../bench/RESULTS.md', import.meta.url))

const PARTS = [
  'post',
  'token',
  'fanout',
  'latency',
  'dialogs',
  'tails',
  'inbox',
  'history',
  'connections',
  'idle',
  'channels',
  'storm',
  'even',
  'memory',
  'start'
]

t.test('a short run of all parts measures everything, and judges nothing', async t => {
  const { status, stdout, stderr } = await bench(t, '--short', '--json')
  t.equal(status, 0, stderr)
  const { failed, measured } = JSON.parse(stdout) as { failed: string[]; measured: Measured[] }
  t.strictSame(failed, [])
  t.strictSame(
    measured.map(({ part }) => part),
    PARTS
  )
  for (const { part, tables } of measured) {
    for (const { what, median, samples, isMet, missing } of tables.flatMap(({ rows }) => rows)) {
      t.equal(isMet, null)
      // A peer that cannot be installed is reported as missing. Nothing else may be missing.
      if (missing !== null) t.match(missing, /Nchan/, `${part}: ${what} is missing: ${missing}`)
      else {
        t.ok(median !== null && Number.isFinite(median) && samples.length === 1, `${part}: ${what}`)
      }
    }
  }
})

t.test('an unknown option is reported by name', async t => {
  for (const [args, message] of [
    [['posts'], /no part 'posts', there are: post, token, fanout/],
    [['post', '--rounds', '0'], /--rounds must be a whole number from 1 to 1000/],
    [['--short', '--record'], /--record needs a real one/],
    [['post', '--profile', 'folder', '--json'], /--profile cannot go with/],
    [['--fast'], /--fast/]
  ] as const) {
    const { status, stderr } = await bench(t, ...args)
    t.equal(status, 2)
    t.match(stderr, message)
  }
})

t.test(
  'the median of an odd number of samples is one of them, and of an even number lies between two',
  async t => {
    t.equal(median([3, 1, 2]), 2)
    t.equal(median([4, 1, 2, 3]), 2.5)
    t.equal(median([7]), 7)
  }
)

t.test('a ratio compares samples of the same round', async t => {
  t.strictSame(ratios([10, 20, 30], [5, 20, 60]), [2, 1, 0.5])
})

t.test('a goal is met at its limit and not beyond', async t => {
  const table = (value: number): TableResult =>
    resultOf(
      {
        title: '',
        rows: [row('least', '×', [value], atLeast(2)), row('most', '×', [value], atMost(2))]
      },
      true
    )
  t.match(table(2).rows, [{ isMet: true }, { isMet: true }])
  t.match(table(1.999).rows, [{ isMet: false }, { isMet: true }])
  t.match(table(2.001).rows, [{ isMet: true }, { isMet: false }])
})

t.test('a table shows figures, the range over the rounds, and what is missing and why', async t => {
  const table = resultOf(
    {
      title: 'a title',
      rows: [
        row('rate', '/s', [1000, 3000, 2000]),
        row('ratio', '×', [0.5], atLeast(0.6)),
        missingRow('peer', '×', 'not here', atLeast(6)),
        row('odd', 'ms', [Number.NaN])
      ],
      notes: ['a note']
    },
    true
  )
  t.equal(
    tableText(table),
    [
      'a title',
      '  measured  median        from … to      figure   met',
      '  rate      2,000/s       1,000 … 3,000',
      '  ratio     0.5 ×                        ≥ 0.6 ×  NO',
      '  peer      not here                     ≥ 6 ×    –',
      '  odd       not measured',
      '  a note'
    ].join('\n')
  )
  t.match(
    tableMarkdown(table),
    /^\*\*a title\*\*\n\n\| measured \|.*\n\|---.*\n\| rate \| 2,000\/s \| 1,000 … 3,000 \| {2}\| {2}\|\n[^]*\n\na note$/
  )
})

t.test('recorded tables are put between their markers, and the text around them stays', async t => {
  const folder = temporaryDir(t)
  copyFileSync(RESULTS, join(folder, 'RESULTS.md'))
  const where = pathToFileURL(`${folder}/`)
  const page = (): string => readFileSync(join(folder, 'RESULTS.md'), 'utf8')
  writeFileSync(join(folder, 'RESULTS.md'), page().replace('## Fan-out', 'By hand.\n\n## Fan-out'))
  record([measuredOf('post', 1, { processCpuUsPerPost: 50 }), measuredOf('storm', 2, {})], where)
  record([measuredOf('post', 3, {})], where)
  t.match(page(), /By hand\./)
  t.match(page(), /<!-- bench:post -->\n[^<]*\| what \| 3 ×[^<]*\n<!-- end -->/)
  t.match(page(), /<!-- bench:storm -->\n[^<]*\| what \| 2 ×/)
  t.notMatch(page(), /\| what \| 1 ×/)
  t.strictSame(
    (JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')) as Measured[]).map(
      ({ part }) => part
    ),
    ['storm', 'post']
  )
  t.throws(() => replaced(page(), 'nothing', ''), /no place for nothing/)
})

t.test('every part has its place in RESULTS.md', async t => {
  for (const part of [...PARTS, 'carries']) {
    t.doesNotThrow(() => replaced(readFileSync(RESULTS, 'utf8'), part, ''))
  }
})

t.test('the capacity of a cluster is limited by whatever is full first', async t => {
  const costs = {
    processCpuUsPerPost: 100,
    processCpuUsPerDelivery: 1,
    masterCpuUsPerMessage: 70,
    replicaCpuUsPerMessage: 35,
    bytesPerDelivery: 200,
    masterBytesInPerMessage: 500,
    masterBytesOutPerMessageWithReader: 1000
  }
  const [, sizes] = carries(costs) ?? []
  const carried = new Map(
    sizes?.rows.map(({ what, samples }) => [what, Math.round(samples[0] ?? 0)])
  )
  t.equal(carried.get('3 shards, 1 processes: the processes'), 7000)
  t.equal(carried.get('6 shards, 12 processes: the shards'), 60_000)
  t.equal(carries({ ...costs, processCpuUsPerPost: Number.NaN })?.length, 2)
  t.equal(carries({ processCpuUsPerPost: 100 }), undefined)
})

t.test('each frame of an event stream is counted once, wherever the chunks are cut', async t => {
  const head = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n'
  const message = (seq: number): string =>
    `id: ${seq}-1700000000000\ndata: {"room":"r","seq":${seq},"user":"u","text":"${'x'.repeat(100)}"}\n\n`
  const ping = 'event: ping\ndata: {}\n\n'
  const bytes = Buffer.from(
    `${head}retry: 1000\n\n${ping}${[1, 2, 3].map(message).join(ping)}id: 3-1700000000000\nevent: live\ndata: {"room":"r","head":3}\n\n${[4, 5, 6, 7].map(message).join(ping.repeat(10))}${ping}`
  )
  t.doesNotThrow(() => {
    fc.assert(
      fc.property(cutsOf(bytes), cuts => {
        const counter = new SseCounter({ liveMark: 'event: live', frameBytesMin: 100 })
        for (const chunk of chunksOf(bytes, cuts)) counter.push(chunk)
        return counter.isLive && counter.frames === 9
      })
    )
  })
})

t.test('a stream is live when its mark has come or, without one, when it was answered', async t => {
  const counter = new SseCounter({ liveMark: 'event: live', frameBytesMin: 0 })
  counter.push(Buffer.from('HTTP/1.1 200 OK\r\n\r\nid: 0\nevent: li'))
  t.equal(counter.isLive, false)
  counter.push(Buffer.from('ve\n'))
  t.equal(counter.isLive, true)
  const plain = new SseCounter({ liveMark: undefined, frameBytesMin: 0 })
  plain.push(Buffer.from('HTTP/1.1 200 OK\r\n\r'))
  t.equal(plain.isLive, false)
  plain.push(Buffer.from('\n'))
  t.equal(plain.isLive, true)
  t.throws(() => {
    new SseCounter({ liveMark: undefined, frameBytesMin: 0 }).push(
      Buffer.from('HTTP/1.1 503 Service Unavailable\r\n\r\n')
    )
  }, /503 Service Unavailable/)
})

t.test(
  'events of Socket.IO are counted, its pings answered, wherever the chunks are cut',
  async t => {
    const frame = (text: string): Buffer => {
      const length = Buffer.alloc(text.length < 126 ? 1 : text.length < 65_536 ? 3 : 9)
      length[0] = text.length < 126 ? text.length : text.length < 65_536 ? 126 : 127
      if (length.length === 3) length.writeUInt16BE(text.length, 1)
      if (length.length === 9) length.writeBigUInt64BE(BigInt(text.length), 1)
      return Buffer.concat([Buffer.from([0x81]), length, Buffer.from(text)])
    }
    const event = (size: number): Buffer => frame(`42["message","${'x'.repeat(size)}"]`)
    const bytes = Buffer.concat([
      Buffer.from('HTTP/1.1 101 Switching Protocols\r\n\r\n'),
      frame('0{"sid":"a"}'),
      frame('40{"sid":"b"}'),
      event(10),
      frame('2'),
      event(200),
      event(70_000),
      frame('41')
    ])
    t.doesNotThrow(() => {
      fc.assert(
        fc.property(cutsOf(bytes), cuts => {
          const sent: string[] = []
          const counter = new SocketIoCounter(frame => {
            sent.push(frame.toString('latin1', 6))
          })
          for (const chunk of chunksOf(bytes, cuts)) counter.push(chunk)
          return counter.isLive && counter.frames === 3 && sent.join(' ') === '40 3'
        })
      )
    })
    t.throws(() => {
      new SocketIoCounter(() => {}).push(Buffer.from('HTTP/1.1 404 Not Found\r\n\r\n'))
    }, /404 Not Found/)
  }
)

t.test('a filled room is like one the service has written, and can be continued', async t => {
  const cluster = await startCluster(t)
  const service = await startService(t, { redisNodes: cluster.urls })
  const redis = await RedisNodes.connect(cluster.urls)
  t.teardown(() => redis.stop())
  // More than three segments and more than one block for each user.
  const filling = newFilling(3500, 3, 100)
  const { room, userPrefix } = filling
  await fill(redis, filling)

  const stored = await readStored(service.url, room)
  t.strictSame(
    stored.map(({ seq }) => seq),
    Array.from({ length: 3500 }, (_, index) => index + 1)
  )
  t.ok(
    stored.every(
      ({ user, text }, index) =>
        user === `${userPrefix}${index % 3}` &&
        text?.length === 100 &&
        text.startsWith(`#${index + 1} `)
    )
  )
  const get = async (path: string): Promise<unknown> =>
    await (await fetch(`${service.url}/rooms/${room}/${path}`)).json()
  t.match(await get('users'), {
    users: {
      length: 3,
      0: { user: `${userPrefix}0`, messages: 1167 },
      1: { messages: 1167 },
      2: { messages: 1166 }
    }
  })
  const { blocks } = (await get('blocks')) as { blocks: Array<{ key: string; messages: number }> }
  const byKey = (blocks: Array<{ key: string; messages: number }>): string[] =>
    blocks.map(({ key, messages }) => `${key} ${messages}`).sort()
  t.strictSame(byKey(blocks), byKey(filledBlocks(filling)))
  const posted = await fetch(`${service.url}/rooms/${room}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user: `${userPrefix}0`, text: 'next' })
  })
  t.match(await posted.json(), { seq: 3501 })
})

async function bench(
  t: Test,
  ...args: string[]
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [BENCH, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGTERM'))
  const [stdout, stderr] = await Promise.all([
    textOf(child.stdout),
    textOf(child.stderr),
    once(child, 'exit')
  ])
  return { status: child.exitCode, stdout, stderr }
}

const MACHINE: Machine = {
  processor: 'p',
  processors: 1,
  memoryGb: 1,
  system: 's',
  node: 'n',
  redis: 'r',
  nginx: 'x',
  commit: 'c'
}

function measuredOf(part: string, value: number, costs: Measured['costs']): Measured {
  const tables = [resultOf({ title: part, rows: [row('what', '×', [value])] }, true)]
  return {
    part,
    rounds: 1,
    seconds: 1,
    at: '2026-01-01T00:00:00.000Z',
    machine: MACHINE,
    tables,
    costs
  }
}

const cutsOf = (bytes: Buffer): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 20 })

function chunksOf(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...cuts, bytes.length].sort((a, b) => a - b)
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
}
