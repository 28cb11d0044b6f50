// Posts each of many keys ten times at once, half to each process, while connections are cut on
// both sides. Only one message for each key may be stored.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'undici'
import { post, type Outcome } from '../../src/cli/post.js'
import { randomFrom } from '../../src/cli/zipf.js'
import { type Experiment, scaled } from './findings.js'
import { Ledger, type Sent } from './ledger.js'
import { bearer } from './rights.js'
import { judgeAll } from './verdict.js'
import { World } from './world.js'

const KEYS = 100
const POSTS_A_KEY = 10
const CUT_SHARE = 0.3
const CUT_MS_MAX = 60
const CONNECTION_KILLS = 5
const PAUSE_MS = 50

export const repeatStorm: Experiment = {
  about: '1,000 POSTs with 100 keys at both processes at once, connections being cut: 100 messages',
  hold: async ({ scale, seed, report, rights }) => {
    const world = await World.start({ env: { ...rights?.env }, report })
    const random = randomFrom(seed)
    const ledger = new Ledger()
    try {
      const room = `repeats-${seed}`
      const drafts = Array.from({ length: scaled(KEYS, scale, 20) }, (_, index) => ({
        sent: ledger.compose(room, `user-${index % 7}`, 80, performance.now()),
        key: randomUUID()
      }))
      const posts = drafts.flatMap(({ sent, key }) =>
        Array.from({ length: POSTS_A_KEY }, (_, index) => ({
          sent,
          key,
          url: world.urls[index % world.urls.length] ?? ''
        }))
      )
      const answering = Promise.all(
        posts.map(async ({ sent, key, url }) => ({
          sent,
          outcome: await postUntilAnswered(url, sent, key, random, rights?.writer)
        }))
      )
      for (let kill = 0; kill < CONNECTION_KILLS; kill++) {
        await sleep(PAUSE_MS)
        await world.operator.askAll('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      }
      const answers = await answering
      for (const { sent } of drafts) {
        ledger.answer(sent, answers.find(answer => answer.sent === sent)?.outcome ?? NONE)
      }
      const seqs = new Map(
        drafts.map(({ sent }) => [
          sent,
          new Set(
            answers
              .filter(answer => answer.sent === sent)
              .map(({ outcome }) => (outcome.isAcknowledged ? outcome.seq : outcome.code))
          )
        ])
      )
      const verdict = await judgeAll({
        ledger,
        readers: [],
        url: world.urls[0] ?? '',
        headers: bearer(rights?.reader)
      })
      return {
        figures: [
          `${posts.length} POSTs with ${drafts.length} keys: ${verdict.stored.messages} messages`
        ],
        violations: [
          ...verdict.violations,
          ...(verdict.stored.messages === drafts.length
            ? []
            : [`${verdict.stored.messages} messages of ${drafts.length} keys`]),
          ...[...seqs.values()]
            .filter(({ size }) => size !== 1)
            .slice(0, 5)
            .map(answers => `one key was answered differently: ${[...answers].join(', ')}`)
        ]
      }
    } finally {
      await world.stop()
    }
  }
}

const NONE: Outcome = {
  isAcknowledged: false,
  status: undefined,
  code: 'NONE',
  reason: 'nobody answered',
  isWorthRetrying: false,
  retryAfterMs: 0
}

// Each attempt has a connection of its own. Some connections are cut after a random time, and then
// the POST is sent again.
async function postUntilAnswered(
  url: string,
  sent: Sent,
  key: string,
  random: () => number,
  token: string | undefined
): Promise<Outcome> {
  for (;;) {
    const client = new Client(url)
    const cut =
      random() < CUT_SHARE
        ? setTimeout(() => {
            void client.destroy()
          }, random() * CUT_MS_MAX)
        : undefined
    // If another of the ten was first, 200 is right.
    const outcome = await post(client, sent, { basePath: '', key, token, isRepeated: true })
    clearTimeout(cut)
    await client.destroy()
    if (outcome.isAcknowledged || !outcome.isWorthRetrying) return outcome
    await sleep(PAUSE_MS)
  }
}
