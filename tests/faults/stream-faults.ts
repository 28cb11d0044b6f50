// Streams under faults: readers of every room on two service processes. Each must end with exactly
// the messages 1 to head of its room, in order. `npm run drill -- faults --scenario chaos --rate
// 2000 --readers 200` does the same at full size.
import t, { type Test } from 'tap'
import { trialOf } from '../drills/faults-command.js'
import { latencyText, verdictText } from '../drills/figures.js'
import { EXPERIMENTS, type ExperimentName } from '../drills/bounds-command.js'
import { SCENARIOS } from '../drills/scenarios.js'
import { Trial } from '../drills/trial.js'
import { chaos } from '../drills/chaos.js'
import { openChromium } from '../support/chromium.js'
import { elsewhere } from '../support/elsewhere.js'
import { browserGuest, eventSourceGuest } from '../support/eventsource-guests.js'

const SEED = Number(process.env['SEED'] ?? 1)
const [CHAOS_S, messages, rate] = elsewhere === false ? [14, 3000, 250] : [8, 1600, 200]

t.test(
  'while everything is broken at random, sockets, the package eventsource and Chromium get every message once, in order',
  async t => {
    const browser = await openChromium(t)
    const size = { messages, rate, writers: 50, rooms: 20, readers: 40, seed: SEED }
    const trial = trialOf({ ...SCENARIOS.chaos, faults: trial => chaos(trial, CHAOS_S) }, size)
    const guests = [
      eventSourceGuest,
      eventSourceGuest,
      eventSourceGuest,
      browserGuest(browser),
      browserGuest(browser)
    ]
    await Trial.hold(
      {
        ...trial,
        guests,
        report: line => {
          t.comment(line)
        }
      },
      (trial, verdict) => {
        for (const line of `${verdictText(verdict)}\n${latencyText(trial)}`.split('\n')) {
          t.comment(line)
        }
        t.same(verdict.violations, [])
        t.equal(verdict.frames.received, verdict.frames.expected)
        t.ok(verdict.frames.expected > (5 * size.messages) / 2)
      }
    )
  }
)

async function keepsItsBounds(t: Test, name: ExperimentName, scale: number): Promise<void> {
  const { figures, violations } = await EXPERIMENTS[name].hold({
    scale,
    seed: SEED,
    report: line => {
      t.comment(line)
    }
  })
  for (const line of figures) t.comment(line)
  t.same(violations, [])
}

t.test('a last message whose publication is refused arrives as soon as others hear of it', t =>
  keepsItsBounds(t, 'lost-publication', 0.5)
)
t.test(
  'slow readers do not delay fast ones, use no more memory than allowed, and get everything',
  { skip: elsewhere },
  t => keepsItsBounds(t, 'slow-readers', 0.2)
)
t.test(
  'a thousand readers that come back at once share a handful of reads',
  { skip: elsewhere },
  t => keepsItsBounds(t, 'reconnect-storm', 0.2)
)
