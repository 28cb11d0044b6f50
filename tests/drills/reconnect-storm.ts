// Thousands of readers of one room reconnect at the same moment, each a hundred messages behind, to
// a process that has not opened the room yet. They must share a handful of reads, and all be live
// within seconds.
import { count } from '../../src/cli/progress.js'
import { randomFrom } from '../../src/cli/zipf.js'
import { type Experiment, scaled } from './findings.js'
import { Ledger } from './ledger.js'
import { readMetric } from './metric.js'
import { ReaderRecord } from './reader-record.js'
import { Recorder } from './recorder.js'
import { bearer } from './rights.js'
import { readHead } from './stored.js'
import { Transcript } from './transcript.js'
import { until } from '../support/until.js'
import { judgeAll } from './verdict.js'
import { World } from './world.js'
import { Writers } from './writers.js'

const READERS = 5000
const HISTORY_LENGTH = 300
const BEHIND = 100
const READS_MAX = 10
const LIVE_MS_MAX = 3000
const WRITERS = 20

export const reconnectStorm: Experiment = {
  about:
    '5,000 readers come back at once, each 100 messages behind: how many reads, and how long until all are live',
  hold: async ({ scale, seed, report, rights }) => {
    const world = await World.start({ env: { ...rights?.env }, report })
    const headers = bearer(rights?.reader)
    const ofOperator = bearer(rights?.writer)
    const recorders: Recorder[] = []
    try {
      const room = `storm-${seed}`
      const [first = '', second = ''] = world.urls
      const ledger = new Ledger()
      const writers = new Writers({
        urls: [first],
        ledger,
        random: randomFrom(seed),
        token: rights?.writer,
        messagesMax: HISTORY_LENGTH,
        writers: Array.from({ length: WRITERS }, (_, index) => ({
          user: `writer-${index}`,
          rooms: [room]
        }))
      }).start()
      await writers.done()
      await writers.stop()
      const after = (await readHead(first, room, headers)) - BEHIND
      const transcript = new Transcript(room)
      for (let index = 0; index < scaled(READERS, scale); index++) {
        recorders.push(
          new Recorder(new ReaderRecord(transcript, after), {
            urls: [second],
            headers,
            query: `after=${after}`
          })
        )
      }
      const readsBefore = await readMetric(second, 'dialogs_store_reads_total', ofOperator)
      const startMs = performance.now()
      for (const recorder of recorders) recorder.start()
      await until('all are live', () => recorders.every(({ record }) => record.isLive))
      const liveMs = performance.now() - startMs
      const reads =
        (await readMetric(second, 'dialogs_store_reads_total', ofOperator)) - readsBefore
      const verdict = await judgeAll({
        ledger,
        readers: recorders,
        url: first,
        headers
      })
      return {
        figures: [
          `${count(recorders.length)} readers, ${count(verdict.frames.received)} frames: all live after ${Math.round(liveMs)} ms, with ${reads} reads of the store`
        ],
        violations: [
          ...verdict.violations,
          ...(reads > READS_MAX ? [`${reads} reads, more than ${READS_MAX}`] : []),
          ...(liveMs > LIVE_MS_MAX
            ? [`all live only after ${Math.round(liveMs)} ms, later than ${LIVE_MS_MAX}`]
            : [])
        ]
      }
    } finally {
      for (const recorder of recorders) recorder.stop()
      await world.stop()
    }
  }
}
