// The drills of resharding, failover and growth, shortened: `npm run drill -- all` runs them at
// full size and writes the report. Also tests that the verdict finds broken promises: a judge that
// never condemns proves nothing.
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { text as textOf } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { holdDrill, type DrillResult } from '../drills/drill-run.js'
import { drillText } from '../drills/drill-text.js'
import { DRILLS, type DrillName } from '../drills/drills.js'
import { Lag } from '../drills/lag.js'
import { Ledger } from '../drills/ledger.js'
import { type Phase } from '../drills/figures.js'
import { judgeLimits } from '../drills/limits.js'
import { ReaderRecord } from '../drills/reader-record.js'
import { Transcript } from '../drills/transcript.js'
import { judgeAll, type VerdictOptions } from '../drills/verdict.js'
import { temporaryDir } from '../support/embedded.js'

const DRILL = fileURLToPath(new URL('../drills/drill.js', import.meta.url))
const SEED = Number(process.env['SEED'] ?? 1)
const size = { seed: SEED, rate: 20, readers: 50, quietMs: 3000, history: 1000 }

/** Blocks this process: nothing runs in it meanwhile. */
const standStill = (ms: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

const data = (text: string): Buffer => Buffer.from(JSON.stringify({ text }))

t.test(
  'a record counts holes, repeats, disorder and differences, and nothing if all is well',
  async t => {
    const give = (
      transcript: Transcript,
      seqs: ReadonlyArray<readonly [number, string]>
    ): ReaderRecord => {
      const record = new ReaderRecord(transcript, 0)
      for (const [seq, text] of seqs) record.message(seq, data(text), 0)
      return record
    }
    const none = { missing: 0, repeated: 0, outOfOrder: 0, different: 0, lost: 0, resets: 0 }
    const transcript = new Transcript('r')
    t.match(
      give(transcript, [
        [1, 'a'],
        [2, 'b'],
        [3, 'c'],
        [4, 'd']
      ]),
      { received: 4, last: 4, faults: none }
    )
    t.match(
      give(transcript, [
        [1, 'a'],
        [4, 'd']
      ]),
      { received: 2, last: 4, faults: { ...none, missing: 2 } }
    )
    t.match(
      give(transcript, [
        [1, 'a'],
        [1, 'a'],
        [2, 'b']
      ]),
      { received: 2, faults: { ...none, repeated: 1 } }
    )
    t.match(
      give(transcript, [
        [2, 'b'],
        [1, 'a'],
        [3, 'c']
      ]),
      { received: 3, faults: { ...none, outOfOrder: 1 } }
    )
    t.match(
      give(transcript, [
        [1, 'a'],
        [2, 'x']
      ]),
      { received: 2, faults: { ...none, different: 1 } }
    )
  }
)

t.test('a record knows the longest pause of each span', async t => {
  const record = new ReaderRecord(new Transcript('r'), 0)
  record.live()
  record.watch()
  const startMs = performance.now()
  record.message(1, data('a'), startMs + 100)
  record.message(2, data('b'), startMs + 120)
  record.message(3, data('c'), startMs + 520)
  // The clock has fractions of a millisecond.
  const longest = (fromMs: number, toMs: number, isWhole: boolean): number =>
    Math.round(record.longestPauseMs(startMs + fromMs, startMs + toMs, { isWhole }))
  t.equal(longest(200, 300, false), 400)
  t.equal(longest(110, 1000, true), 400)
  t.equal(longest(200, 1000, true), 0)
})

t.test(
  "the machine's own pauses are deducted from a pause, a POST and a takeover, and nothing else is",
  async t => {
    const lag = new Lag().start()
    const watching = Array.from({ length: 3 }, () => {
      const record = new ReaderRecord(new Transcript('r'), 0)
      record.live()
      record.watch()
      return record
    })
    const startMs = performance.now()
    standStill(400)
    lag.stop()
    const stillMs = lag.stoodStill.ms
    t.equal(lag.stoodStill.times, 1)
    t.ok(stillMs >= 399)
    t.equal(lag.overlapMs(startMs - 2000, startMs - 1000), 0)
    t.ok(Math.abs(lag.overlapMs(startMs - 2000, startMs + 10_000) - stillMs) < 1)

    const judge = (pauseMs: number, postMs: number): readonly string[] => {
      const record = watching.pop()
      t.ok(record)
      record?.message(1, data('a'), startMs + pauseMs)
      const ledger = new Ledger()
      for (const [atMs, value] of [
        [startMs - 1000, 10],
        [startMs, postMs],
        [startMs + 6000, 10]
      ] as const) {
        ledger.postMs.add(atMs, value)
      }
      const phase = (fromMs: number, toMs: number): Phase => ({
        name: '',
        fromMs: startMs + fromMs,
        toMs: startMs + toMs
      })
      const during = phase(-100, 5000)
      return judgeLimits(
        { ledger, lag, recorders: record === undefined ? [] : [{ record }] },
        [phase(-2000, -100), during, phase(5000, 9000)],
        during
      ).violations
    }
    t.strictSame(judge(stillMs + 450, stillMs + 30), [])
    t.match(judge(stillMs + 550, stillMs + 30), { length: 1, 0: /a reader paused for 5[45]\d ms/ })
    t.match(judge(stillMs + 450, stillMs + 90), {
      length: 1,
      0: /POST p99 grew from 10\.0 to [89]\d\.\d ms/
    })
  }
)

t.test(
  'the verdict finds what was lost, doubled, misplaced, refused, late, or never sent',
  async t => {
    const ledger = new Ledger()
    const [first, second, third] = [
      ledger.compose('r', 'ann', 60, 0),
      ledger.compose('r', 'ann', 60, 0),
      ledger.compose('r', 'ann', 60, 0)
    ]
    for (const [index, sent] of [first, second, third].entries()) {
      ledger.answer(sent, { isAcknowledged: true, seq: index + 1, at: '' })
    }
    const judge = async (
      texts: readonly string[],
      options: Partial<VerdictOptions> = {}
    ): Promise<string> => {
      const messages = texts.map((text, index) => ({ seq: index + 1, user: 'ann', text }))
      const server = createServer((_request, response) => {
        response.end(JSON.stringify({ head: messages.length, messages }))
      }).listen(0, '127.0.0.1')
      t.teardown(() => {
        server.close()
      })
      await once(server, 'listening')
      const address = server.address()
      const port = typeof address === 'object' ? address?.port : undefined
      const { violations } = await judgeAll({
        ledger,
        readers: [],
        url: `http://127.0.0.1:${port}`,
        excused: 'none',
        answerMsMax: Infinity,
        takeovers: [],
        startedMs: 0,
        ...options
      })
      return violations.join('\n')
    }
    const texts = [first.text, second.text, third.text]
    t.equal(await judge(texts), '')
    t.match(await judge(texts.slice(0, 2)), /acknowledged message that is not stored/)
    t.match(await judge([...texts, first.text]), /stored twice/)
    t.match(await judge([second.text, first.text, third.text]), /elsewhere than acknowledged/)
    t.match(await judge([...texts, 'from nowhere']), /nobody sent/)
    t.match(await judge(texts, { answerMsMax: -1 }), /took longer/)
    const behind = new ReaderRecord(new Transcript('r'), 0)
    behind.message(1, Buffer.from(JSON.stringify({ text: first.text })), 0)
    t.match(await judge(texts, { readers: [{ record: behind, ends: [] }] }), /misses 2 of 3/)
    const misled = new ReaderRecord(new Transcript('r'), 0)
    for (const [index, text] of [second.text, first.text, third.text].entries()) {
      misled.message(index + 1, data(text), 0)
    }
    t.match(
      await judge(texts, { readers: [{ record: misled, ends: [] }] }),
      /otherwise than it is stored/
    )

    const refused = ledger.compose('r', 'ann', 60, 0)
    ledger.answer(refused, {
      isAcknowledged: false,
      status: 503,
      code: 'STORE_UNAVAILABLE',
      reason: '',
      isWorthRetrying: true,
      retryAfterMs: 0
    })
    t.match(await judge(texts), /must not fail/)
    t.equal(await judge(texts, { excused: '5xx' }), '')
    t.match(await judge(texts, { excused: 'failover' }), /must not fail/)
    t.equal(
      await judge(texts, {
        excused: 'failover',
        takeovers: [{ slots: [], killedMs: 0, takenOverMs: Infinity }]
      }),
      ''
    )

    const lag = new Lag().start()
    standStill(400)
    lag.stop()
    const takenOverMs = performance.now() - 1200
    const late = ledger.compose('r', 'ann', 60, 0)
    ledger.answer(late, { isAcknowledged: true, seq: 4, at: '' })
    for (const sent of [first, second, third]) sent.answeredMs = -Infinity
    const takeovers = [{ slots: [[0, 16383]], killedMs: takenOverMs - 1000, takenOverMs }] as const
    t.match(
      await judge([...texts, late.text], { excused: '5xx', takeovers }),
      /resumed too late: 1[2-9]\d\d ms/
    )
    t.equal(await judge([...texts, late.text], { excused: '5xx', takeovers, lag }), '')
    ledger.all.splice(ledger.all.indexOf(late), 1)

    const unanswered = ledger.compose('r', 'ann', 60, 0)
    ledger.answer(unanswered, {
      isAcknowledged: false,
      status: undefined,
      code: 'ECONNRESET',
      reason: '',
      isWorthRetrying: true,
      retryAfterMs: 0
    })
    t.match(await judge(texts, { excused: '5xx' }), /must not fail/)
    t.equal(await judge(texts, { excused: 'unanswered' }), '')
  }
)

/**
 * A busy machine may itself be late; the drill is then run again. Messages that are lost, repeated,
 * reordered or refused count at once.
 */
const REPEATS_MAX = 2
const isOnlyLate = ({ verdict, violations }: DrillResult): boolean =>
  verdict.violations.length === 0 && violations.length > 0

async function keepsItsPromises(t: Test, name: DrillName): Promise<void> {
  const hold = async (): Promise<DrillResult> => {
    const result = await holdDrill(DRILLS[name], size, line => {
      t.comment(line)
    })
    for (const line of drillText(result).split('\n')) t.comment(line)
    return result
  }
  let result = await hold()
  for (let again = 0; again < REPEATS_MAX && isOnlyLate(result); again++) result = await hold()
  t.same(result.violations, [])
  t.ok(result.verdict.posts.acknowledged > size.history)
  t.equal(result.verdict.frames.received, result.verdict.frames.expected)
}

t.test('a shard is added and given its share: nothing is lost or refused', t =>
  keepsItsPromises(t, 'scale-out')
)
t.test('a drain that is interrupted and run again: nothing is lost or refused', t =>
  keepsItsPromises(t, 'drain')
)
t.test('a master dies and comes back: nothing acknowledged is lost', t =>
  keepsItsPromises(t, 'failover')
)
t.test('every node is restarted after a failover by hand: nothing is lost or refused', t =>
  keepsItsPromises(t, 'rolling-restart')
)

// What limits.ts says, and nothing else, between the word and the empty line after it.
const isOnlyLateIn = (stdout: string): boolean =>
  /^Promises +BROKEN\n( {2}(POST p99 grew|a reader paused) .*\n)+\n/m.test(stdout)

t.test(
  'the command moves all slots of a master away, says what it found, and writes the report',
  async t => {
    const file = join(temporaryDir(t), 'RESHARDING.md')
    const hold = async (): Promise<string> => {
      const child = execFile(process.execPath, [
        DRILL,
        'reshard',
        '--seed',
        '5',
        '--readers',
        '50',
        '--quiet',
        '3',
        '--history',
        '1000',
        '--blocks',
        '5',
        '--report',
        file
      ])
      const [stdout, [status]] = await Promise.all([
        child.stdout === null ? '' : textOf(child.stdout),
        once(child, 'close')
      ])
      t.equal(status, /BROKEN/.test(stdout) ? 1 : 0)
      return stdout
    }
    let stdout = await hold()
    for (let again = 0; again < REPEATS_MAX && isOnlyLateIn(stdout); again++) stdout = await hold()
    t.match(stdout, /Promises +all kept/)
    const report = readFileSync(file, 'utf8')
    t.match(report, /\$ npm run cluster -- reshard --from \d+ --to \d+ --slots all\n/)
    t.match(report, /Moved 5,461 of 5,461 slots/)
    t.match(report, /Nothing was lost, repeated, reordered or refused/)
    t.ok(existsSync(file.replace('.md', '-reshard.svg')))
  }
)

t.test('called wrongly, it lists the drills', async t => {
  const run = promisify(execFile)
  await t.rejects(run(process.execPath, [DRILL, 'nonsense']), {
    code: 2,
    stderr: /no drill 'nonsense'/
  })
  await t.rejects(run(process.execPath, [DRILL, 'faults', '--scenario', 'nonsense']), {
    code: 2,
    stderr: /kill-master/
  })
  t.match((await run(process.execPath, [DRILL, '--help'])).stdout, /npm run drill -- reshard/)
})
