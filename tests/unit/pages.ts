// Pages of history for readers that catch up. Readers at about the same place share pages; fast
// readers get longer ones and slow readers shorter ones; no more bytes are kept than allowed. The
// history is a stand-in that answers when the test decides.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Pages, type Page, type PagesOptions } from '../../src/live/pages.js'
import { type Entry } from '../../src/message/message.js'
import { sequence } from '../support/client.js'
import { until } from '../support/until.js'

const TEXT = 'x'.repeat(100)
const OPTIONS: PagesOptions = {
  pageLength: 512,
  pageLengthMax: 4096,
  pageBytesMax: 1_000_000,
  socketBytesMax: 10_000,
  pagesBytesMax: 1_000_000,
  pageReadsMax: 2
}

function pagesOf(
  options: Partial<PagesOptions> = {},
  head = Infinity
): { pages: Pages; reads: string[]; answer: () => void } {
  const reads: string[] = []
  let answers: Array<() => void> = []
  const range = async (room: string, from: number, to: number): Promise<Entry[]> => {
    reads.push(`${room} ${from}-${to}`)
    await new Promise<void>(resolve => {
      answers.push(resolve)
    })
    return sequence(from, Math.min(to, head)).map(seq => ({
      room,
      seq,
      user: 'ann',
      text: TEXT,
      ms: seq
    }))
  }
  // Pages only asks a history for ranges.
  const pages = new Pages({ range }, { ...OPTIONS, ...options }, () => undefined)
  return {
    pages,
    reads,
    answer: () => {
      const all = answers
      answers = []
      for (const resolve of all) resolve()
    }
  }
}

const seqsOf = (page: Page): number[] =>
  page.flatMap(({ first, ends }) => ends.map((_, index) => first + index))

async function read(
  world: ReturnType<typeof pagesOf>,
  epoch: number,
  seq: number,
  last: number,
  length: number
): Promise<Page> {
  const reading = world.pages.read('r', epoch, seq, last, length)
  await sleep(1)
  world.answer()
  return await reading
}

t.test(
  'readers at about the same place share a page while it is being read and a moment longer',
  async t => {
    const world = pagesOf()
    const { pages, reads, answer } = world
    const both = Promise.all([
      pages.read('r', 1, 513, 2000, 512),
      pages.read('r', 1, 1024, 2000, 512)
    ])
    await sleep(1)
    answer()
    const [one, two] = await both
    t.equal(one, two)
    t.same(seqsOf(one), sequence(513, 1024))
    t.equal(await pages.read('r', 1, 700, 2000, 512), one, 'kept')
    t.same(reads, ['r 513-1024'])
    await sleep(1100)
    await read(world, 1, 700, 2000, 512)
    t.same(reads, ['r 513-1024', 'r 513-1024'], 'not for ever')
  }
)

t.test('reads of different epochs are not shared', async t => {
  const world = pagesOf()
  await read(world, 1, 1, 2000, 512)
  await read(world, 2, 1, 2000, 512)
  t.same(world.reads, ['r 1-512', 'r 1-512'])
})

t.test('a page ends at the last readable sequence', async t => {
  const world = pagesOf()
  for (const last of [511, 512, 513]) {
    t.same(seqsOf(await read(world, 1, 2, last, 512)), sequence(1, Math.min(512, last)))
  }
})

t.test(
  'a page that ends too early is read again, because the log may be rewound or missing for a moment',
  async t => {
    const world = pagesOf({}, 300)
    t.same(seqsOf(await read(world, 1, 1, 512, 512)), sequence(1, 300))
    t.same(await read(world, 1, 385, 512, 128), [])
    t.same(await read(world, 1, 385, 512, 128), [])
    t.same(world.reads, ['r 1-512', 'r 385-512', 'r 385-512'])
  }
)

t.test('kept pages stay within their limit of bytes: the oldest are dropped', async t => {
  const world = pagesOf()
  // Both numbers have three digits, so the pages have the same size.
  const seqs = [129, 257]
  const page = await read(world, 1, 129, 384, 128)
  const bytes = page.reduce((sum, { bytes }) => sum + bytes.length, 0)
  for (const [pagesBytesMax, kept] of [
    [bytes - 1, 0],
    [bytes, 1],
    [2 * bytes - 1, 1],
    [2 * bytes, 2]
  ] as const) {
    const world = pagesOf({ pagesBytesMax })
    for (const seq of seqs) await read(world, 1, seq, 384, 128)
    world.reads.length = 0
    for (const seq of seqs) void world.pages.read('r', 1, seq, 384, 128)
    await sleep(1)
    t.equal(seqs.length - world.reads.length, kept, `${pagesBytesMax} of ${bytes} bytes`)
    world.answer()
  }
})

t.test('a limited number of pages is read at the same time', async t => {
  const { pages, reads, answer } = pagesOf()
  const all = [1, 513, 1025].map(seq => pages.read('r', 1, seq, 5000, 512))
  await sleep(1)
  t.equal(reads.length, 2)
  t.equal(pages.waiting, 1)
  answer()
  await until('the third is read', () => reads.length === 3)
  t.equal(pages.waiting, 0)
  answer()
  await Promise.all(all)
})

t.test(
  'pages grow up to the limits for readers that take them at once, and shrink for others',
  async t => {
    const world = pagesOf()
    const page = await read(world, 1, 1, 512, 512)
    const mean = page.reduce((sum, { bytes }) => sum + bytes.length, 0) / 512
    const after = (length: number, next: number, wasTaken: boolean, pageBytesMax = 1e9): number =>
      pagesOf({ pageBytesMax }).pages.lengthAfter(page, length, next, wasTaken)
    t.equal(after(512, 513, true), 512, 'a longer page would begin with what is there already')
    t.equal(after(512, 1025, true), 1024)
    t.equal(after(2048, 4097, true), 4096)
    t.equal(after(4096, 8193, true), 4096, 'the longest')
    t.equal(after(512, 1025, true, 1024 * mean), 1024)
    t.equal(after(512, 1025, true, 1024 * mean - 1), 512)
    t.equal(after(512, 1025, true, 512 * mean), 512)
    t.equal(after(512, 1025, true, 512 * mean - 1), 256, 'this one was too large')
    t.equal(after(512, 600, false), 256)
    t.equal(after(256, 600, false), 128)
    t.equal(after(128, 600, false), 128, 'the shortest')
    t.equal(world.pages.firstLength('r', 128), 128)
    t.equal(world.pages.firstLength('r', 129), 512)
    t.equal(world.pages.firstLength('unknown', 129), 128, 'its texts may be of any length')
  }
)
