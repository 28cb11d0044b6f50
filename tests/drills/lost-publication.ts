// Redis refuses the publication of a room's last message. Its writer then tells the other processes
// in another way to look at that room (src/store/peers.ts).
import { randomUUID } from 'node:crypto'
import { Client } from 'undici'
import { post } from '../../src/cli/post.js'
import { type Experiment } from './findings.js'
import { Ledger } from './ledger.js'
import { ReaderRecord } from './reader-record.js'
import { Recorder } from './recorder.js'
import { bearer } from './rights.js'
import { percentile } from './samples.js'
import { Transcript } from './transcript.js'
import { until } from '../support/until.js'
import { judgeAll } from './verdict.js'
import { World } from './world.js'

/** A process hears of the others five times in this time. */
const VANISHED_MS = 10_000
const HEARD_MS = VANISHED_MS / 5
const TIMES = 5
const ATTEMPTS_PER_DELAY = 3
/** How long the look at the store itself may take on a busy machine. */
const LOOK_MS_MAX = 500
/** If the machine is busy at that moment, the news is heard late, or only the next time. */
const LONGEST_MS_MAX = 2 * HEARD_MS + 4000

export const lostPublication: Experiment = {
  about:
    'the publication of the last message is refused by Redis: readers have it as soon as their process hears of the others',
  hold: async ({ scale, seed, report, rights }) => {
    const world = await World.start({
      env: { VANISHED_MS: String(VANISHED_MS), ...rights?.env },
      report
    })
    const headers = bearer(rights?.reader)
    const [writing = '', reading = ''] = world.urls
    const room = `lost-${seed}`
    const recorder = new Recorder(new ReaderRecord(new Transcript(room), 0), {
      urls: [reading],
      headers
    }).start()
    const client = new Client(writing)
    const ledger = new Ledger()
    const delaysMs: number[] = []
    // The message before may still be waiting to be published, although its reader has found it in
    // the log. If Redis refuses that publication, the process refuses this message with
    // STORE_DENIED, and it must be repeated later.
    const write = async (): Promise<{ repeat: () => Promise<void> } | undefined> => {
      const sent = ledger.compose(room, 'ann', 50, performance.now())
      const attempt = { basePath: '', key: randomUUID(), token: rights?.writer }
      const outcome = await post(client, sent, { ...attempt, isRepeated: false })
      if (outcome.isAcknowledged || outcome.code !== 'STORE_DENIED') {
        ledger.answer(sent, outcome)
        return undefined
      }
      return {
        repeat: async () => {
          ledger.answer(sent, await post(client, sent, { ...attempt, isRepeated: true }))
        }
      }
    }
    try {
      await until('the reader is live', () => recorder.record.isLive)
      const wanted = Math.max(2, TIMES * scale)
      for (let attempt = 0; delaysMs.length < wanted; attempt++) {
        if (attempt === wanted * ATTEMPTS_PER_DELAY) throw new Error('No publication was lost')
        await (await write())?.repeat()
        await until(
          'the first message is there',
          () => recorder.record.last === ledger.acknowledged
        )
        // Right after a message that arrived, so that no audit of the room is due.
        await world.operator.askAll('ACL', 'SETUSER', 'service', '-spublish')
        const refused = await write()
        const answeredMs = performance.now()
        // On a busy machine the reader may have the message before the writer has its answer.
        const isLost = refused === undefined && recorder.record.last !== ledger.acknowledged
        await until('the last message is there', () => recorder.record.last === ledger.acknowledged)
        if (isLost) delaysMs.push(performance.now() - answeredMs)
        await world.operator.askAll('ACL', 'SETUSER', 'service', '+spublish')
        // A permanent refusal by Redis stops all writing until a check shows that it is over.
        await until('both work again', async () => {
          const answers = await Promise.all(world.urls.map(url => fetch(`${url}/health/ready`)))
          return answers.every(({ ok }) => ok)
        })
        await refused?.repeat()
      }
      const verdict = await judgeAll({
        ledger,
        readers: [recorder],
        url: writing,
        headers
      })
      const medianMs = percentile(Float64Array.from(delaysMs).sort(), 50)
      const longestMs = Math.max(...delaysMs)
      return {
        figures: [
          `a lost last message was there after ${delaysMs.map(ms => Math.round(ms)).join(', ')} ms; a process hears of the others every ${HEARD_MS} ms`
        ],
        violations: [
          ...verdict.violations,
          ...(medianMs > HEARD_MS + LOOK_MS_MAX
            ? [`the median of ${Math.round(medianMs)} ms is later than ${HEARD_MS} ms`]
            : []),
          ...(longestMs > LONGEST_MS_MAX
            ? [`one came after ${Math.round(longestMs)} ms, later than ${LONGEST_MS_MAX} ms`]
            : [])
        ]
      }
    } finally {
      recorder.stop()
      await client.destroy()
      await world.stop()
    }
  }
}
