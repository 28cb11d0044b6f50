// A tab in a busy room and in a long one, on a slow computer, in a real Chromium: memory and DOM
// nodes stay constant, and no message is missing. By default it is short. ENDURANCE=1 runs 100
// messages a second for ten minutes and a room of 100,000 messages, and checks how long tasks take.
import type { CDPSession } from 'playwright-core'
import t from 'tap'
import { Load } from '../../src/cli/load.js'
import { ChatPage } from '../support/chat-page.js'
import { openChromium } from '../support/chromium.js'
import { newName } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

const IS_FULL = process.env['ENDURANCE'] !== undefined
const RATE = 100
const DURATION_MS = IS_FULL ? 600_000 : 12_000
const LONG_ROOM = IS_FULL ? 100_000 : 3000
const CPU_THROTTLING = 4
/**
 * The maximum number of rows, with everything that belongs to each, in a page at the newest
 * message.
 */
const ROWS_MAX = 300
const ROWS_BACK_MAX = 2500
const HEAP_GROWTH_MAX = 3 * 1024 * 1024
const LONG_TASK_MS_MAX = 200

const { url } = await startService(t, { redisNodes: (await startCluster(t)).urls })
const browser = await openChromium(t)

async function write(room: string, options: { count: number; rate?: number }): Promise<void> {
  const failed: unknown[] = []
  await new Load({
    url,
    connections: 16,
    isIdempotent: true,
    compose: index => ({ room, user: `user${index % 20}`, text: `message ${index + 1} of many` }),
    onFailed: message => failed.push(message),
    ...options
  }).run()
  if (failed.length > 0) throw new Error(`${failed.length} were not stored: ${String(failed[0])}`)
}

type Figures = { readonly heap: number; readonly nodes: number; readonly rows: number }

/** After a garbage collection, so that only memory in use counts. */
async function figuresOf(chat: ChatPage, session: CDPSession): Promise<Figures> {
  await session.send('HeapProfiler.collectGarbage')
  const { metrics } = await session.send('Performance.getMetrics')
  const valueOf = (name: string): number => metrics.find(each => each.name === name)?.value ?? 0
  return {
    heap: valueOf('JSHeapUsedSize'),
    nodes: valueOf('Nodes'),
    rows: (await chat.seqs()).length
  }
}

async function measured(chat: ChatPage): Promise<CDPSession> {
  const session = await chat.page.context().newCDPSession(chat.page)
  await session.send('Performance.enable')
  await session.send('Emulation.setCPUThrottlingRate', { rate: CPU_THROTTLING })
  await chat.page.evaluate(`(() => {
    window.tasks = []
    new PerformanceObserver(list => {
      for (const { duration } of list.getEntries()) window.tasks.push(Math.round(duration))
    }).observe({ type: 'longtask' })
  })()`)
  return session
}

const mb = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MB`

t.test(`${RATE} messages a second for ${DURATION_MS / 1000} s leave no trace`, async t => {
  const room = newName()
  const count = (RATE * DURATION_MS) / 1000
  const chat = await ChatPage.enter(t, browser, url, room)
  const session = await measured(chat)
  await chat.open()
  const writing = write(room, { count, rate: RATE })
  const reaches = (seq: number): Promise<void> =>
    until(
      `the page shows #${seq}`,
      async () => Number((await chat.seqs()).at(-1) ?? 0) >= seq,
      DURATION_MS + 60_000
    )
  // By then the page has as many rows as it ever will.
  await reaches(Math.max(count / 10, ROWS_MAX))
  const early = await figuresOf(chat, session)
  await writing
  await reaches(count)
  const late = await figuresOf(chat, session)
  const tasks = await chat.page.evaluate<number[]>('window.tasks')
  const longest = Math.max(0, ...tasks)
  t.comment(
    `heap ${mb(early.heap)}, then ${mb(late.heap)}; nodes ${early.nodes}, then ${late.nodes}; rows ${late.rows}; longest task ${longest} ms, ${tasks.filter(ms => ms > LONG_TASK_MS_MAX).length} of ${tasks.length} above ${LONG_TASK_MS_MAX} ms, at ${CPU_THROTTLING} × throttling`
  )
  t.ok(late.rows <= ROWS_MAX, `${late.rows} rows`)
  t.ok(late.heap < early.heap + HEAP_GROWTH_MAX, `the heap grew by ${late.heap - early.heap}`)
  t.ok(late.nodes < early.nodes * 1.3, `${early.nodes} nodes became ${late.nodes}`)
  const seqs = await chat.seqs()
  t.same(
    seqs,
    Array.from(seqs, (_, index) => count - seqs.length + 1 + index),
    'none is missing'
  )
  t.ok(await chat.isAtEnd(), 'the newest is in sight')
  if (IS_FULL) t.ok(longest <= LONG_TASK_MS_MAX, `the longest task took ${longest} ms`)
})

t.test(`a room of ${LONG_ROOM} messages opens anywhere, and holds few rows`, async t => {
  const room = newName()
  await write(room, { count: LONG_ROOM })
  const chat = await ChatPage.visit(t, browser, url, `?chat_id=${room}&seq=500`)
  await chat.page.waitForSelector('#list > li[data-seq="500"].found')
  const session = await measured(chat)
  const early = await figuresOf(chat, session)
  // Through the history, page by page, in both directions.
  for (const [edge, goal] of [
    ['earlier', 1],
    ['later', Math.min(LONG_ROOM, 10_000)]
  ] as const) {
    await until(
      `#${goal} is reached`,
      async () => {
        await chat.scrollTo(edge === 'earlier' ? 0 : 1_000_000)
        const seqs = await chat.seqs()
        if (seqs.some((seq, index) => index > 0 && seq !== Number(seqs[index - 1]) + 1)) {
          throw new Error(`a hole in ${seqs.join(' ')}`)
        }
        return seqs.includes(goal)
      },
      120_000
    )
  }
  const late = await figuresOf(chat, session)
  t.ok(late.rows <= ROWS_BACK_MAX, `${late.rows} rows`)
  t.comment(`heap ${mb(early.heap)} with ${early.rows} rows, ${mb(late.heap)} with ${late.rows}`)
  t.ok(late.heap < early.heap + 4 * HEAP_GROWTH_MAX, mb(late.heap))
  if (await chat.page.isVisible('#newest')) await chat.page.click('#newest')
  await until('the newest is there', async () => (await chat.seqs()).at(-1) === LONG_ROOM)
  await until('and in sight', () => chat.isAtEnd())
})
