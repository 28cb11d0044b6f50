// A person who is invited to 100,000 rooms within a minute, while others write and read: no key may
// become large, and no command of Redis may hold up its shard. Afterwards the person opens the
// application: the list, the stream, and a mark.
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import { count } from '../../src/cli/progress.js'
import { type Experiment, scaled } from './findings.js'
import { bearer } from './rights.js'
import { World } from './world.js'

const ROOMS = 100_000
const INVITING_MS = 60_000
const CONNECTIONS = 64
const PERSON = 'celebrity'
const KEY_BYTES_MAX = 2 * 1024 * 1024
/** How long a command may take, as measured by SLOWLOG. */
const COMMAND_MS_MAX = 50
/** Commands that take longer are recorded by SLOWLOG. */
const SLOW_MS = 5
const SLOW_LENGTH = 1000
const BYSTANDER_PAUSE_MS = 20

type Slow = readonly [id: number, at: number, microseconds: number, words: readonly string[]]

export const manyDialogs: Experiment = {
  about: 'a person is invited to 100,000 rooms within a minute: largest key, longest command',
  hold: async ({ scale, report, rights }) => {
    const rooms = scaled(ROOMS, scale)
    const world = await World.start({ env: { ...rights?.env }, report })
    const headers = bearer(rights?.writer)
    const pools = world.urls.map(url => new Pool(url, { connections: CONNECTIONS / 2 }))
    const failures = new Map<number, number>()
    const ask = async (
      index: number,
      method: 'GET' | 'POST' | 'PUT',
      path: string,
      body?: object
    ): Promise<{ readonly text: string; readonly ms: number }> => {
      const pool = pools[index % pools.length]
      if (pool === undefined) throw new Error('There is no service')
      const begunMs = performance.now()
      const answer = await pool.request({
        method,
        path,
        ...(body === undefined
          ? { headers }
          : {
              body: JSON.stringify(body),
              headers: { ...headers, 'content-type': 'application/json' }
            })
      })
      const text = await answer.body.text()
      if (answer.statusCode >= 300) {
        failures.set(answer.statusCode, (failures.get(answer.statusCode) ?? 0) + 1)
      }
      return { text, ms: performance.now() - begunMs }
    }
    try {
      for (const each of [
        ['CONFIG', 'SET', 'slowlog-log-slower-than', String(1000 * SLOW_MS)],
        ['CONFIG', 'SET', 'slowlog-max-len', String(SLOW_LENGTH)],
        ['SLOWLOG', 'RESET']
      ]) {
        await world.operator.askAll(...each)
      }
      // Somebody else posts all the while.
      const over = new AbortController()
      const times: number[] = []
      const bystander = (async () => {
        for (let n = 0; !over.signal.aborted; n++) {
          const { ms } = await ask(n, 'POST', '/rooms/aside/messages', {
            user: 'eve',
            text: `${n}`
          })
          times.push(ms)
          await sleep(BYSTANDER_PAUSE_MS)
        }
      })()
      const begunMs = performance.now()
      let next = 0
      await Promise.all(
        Array.from({ length: CONNECTIONS }, async () => {
          for (let n = next++; n < rooms; n = next++) {
            const dueMs = begunMs + (n / rooms) * INVITING_MS * scale
            if (performance.now() < dueMs) await sleep(dueMs - performance.now())
            await ask(n, 'PUT', `/rooms/many-${n}/users/${PERSON}`)
          }
        })
      )
      const seconds = (performance.now() - begunMs) / 1000
      world.did(`${count(rooms)} invitations in ${seconds.toFixed(1)} s`)
      over.abort()
      await bystander
      const first = await ask(0, 'GET', `/users/${PERSON}/rooms?limit=50`)
      const again = await ask(0, 'GET', `/users/${PERSON}/rooms?limit=50`)
      const mark = await ask(1, 'PUT', `/rooms/many-1/users/${PERSON}/read`, { seq: 1 })
      const streamMs = await untilLive(world, headers)
      let pages = 0
      let seen = 0
      for (let before: string | null = ''; before !== null; pages++) {
        const query: string = before === '' ? '' : `&before=${encodeURIComponent(before)}`
        const { text } = await ask(pages, 'GET', `/users/${PERSON}/rooms?limit=1000${query}`)
        // The documented shape of the answer.
        const page = JSON.parse(text) as { rooms: unknown[]; next: string | null }
        seen += page.rooms.length
        before = page.next
      }
      const largest = await largestKey(world)
      const slow = await slowest(world)
      times.sort((a, b) => a - b)
      const p = (q: number): string => (times[Math.floor(q * (times.length - 1))] ?? 0).toFixed(1)
      return {
        figures: [
          `${count(rooms)} invitations in ${seconds.toFixed(1)} s, ${count(rooms / seconds)} a second`,
          `${count(times.length)} POSTs of others meanwhile: p50 ${p(0.5)} ms, p99 ${p(0.99)} ms, max ${p(1)} ms`,
          `the list afterwards: ${first.ms.toFixed(0)} ms, once more ${again.ms.toFixed(0)} ms; the stream is live after ${streamMs.toFixed(0)} ms; a mark ${mark.ms.toFixed(0)} ms`,
          `all pages: ${pages} with ${count(seen)} rooms`,
          `largest of the person's keys: ${largest.key} with ${count(largest.bytes)} bytes`,
          `longest command of Redis: ${slow === undefined ? `less than ${SLOW_MS} ms` : `${slow.ms.toFixed(1)} ms: ${slow.command}`}`
        ],
        violations: [
          ...(largest.bytes > KEY_BYTES_MAX ? [`${largest.key} has ${largest.bytes} bytes`] : []),
          ...(slow !== undefined && slow.ms > COMMAND_MS_MAX
            ? [`${slow.command} took ${slow.ms} ms`]
            : []),
          ...(seen === rooms ? [] : [`the pages have ${seen} rooms, not ${rooms}`]),
          ...[...failures].map(([status, times]) => `${times} answers were ${status}`)
        ]
      }
    } finally {
      await Promise.all(pools.map(pool => pool.destroy()))
      await world.stop()
    }
  }
}

async function untilLive(world: World, headers: Readonly<Record<string, string>>): Promise<number> {
  const begunMs = performance.now()
  const response = await fetch(`${world.urls[0]}/users/${PERSON}/events`, { headers })
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  for (let text = ''; ;) {
    const { value, done } = (await reader?.read()) ?? { value: undefined, done: true }
    text = text.slice(-100) + (value ?? '')
    if (text.includes('event: live') || done) break
  }
  await reader?.cancel()
  return performance.now() - begunMs
}

async function largestKey(world: World): Promise<{ key: string; bytes: number }> {
  let largest = { key: '', bytes: 0 }
  for (const { process } of await world.operator.masters()) {
    // KEYS returns a list of names.
    const keys = (await world.operator.ask(process, 'KEYS', `user:{${PERSON}}*`)) as string[]
    for (const key of keys) {
      const usage = await world.operator.ask(process, 'MEMORY', 'USAGE', key, 'SAMPLES', '0')
      if (Number(usage) > largest.bytes) largest = { key, bytes: Number(usage) }
    }
  }
  return largest
}

async function slowest(world: World): Promise<{ ms: number; command: string } | undefined> {
  let longest: { ms: number; command: string } | undefined
  for (const { process } of await world.operator.masters()) {
    // Entries of id, time, microseconds, words, and more
    // (https://redis.io/docs/latest/commands/slowlog-get).
    const entries = (await world.operator.ask(process, 'SLOWLOG', 'GET', '-1')) as unknown as Slow[]
    for (const [, , microseconds, words] of entries) {
      const ms = microseconds / 1000
      const isOurs = !['KEYS', 'MEMORY'].includes(words[0] ?? '')
      if (isOurs && ms > (longest?.ms ?? 0)) {
        longest = { ms, command: words.slice(0, 4).join(' ').slice(0, 100) }
      }
    }
  }
  return longest
}
