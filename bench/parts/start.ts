// How long a start takes: a second `npm start`, when the cluster and its data exist, up to the
// first POST that is answered 201. That includes the set-up checks, six redis-server processes and
// the service.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../../src/embedded/ports.js'
import { type Bench, type Part } from '../part.js'
import { atMost, row } from '../table.js'

// This file is dist/bench/parts/start.js when it runs.
const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const START_MS_MAX = 60_000
const POLL_MS = 10

export const start: Part = {
  name: 'start',
  about: '`npm start`, the second time, to the first 201',
  rounds: 5,
  seconds: 0,
  run: async bench => {
    const [port = 0] = await freePorts(1)
    const dataDir = mkdtempSync(join(tmpdir(), 'dialogs-start-'))
    await bench.keep({
      stop: async () => {
        rmSync(dataDir, { recursive: true, force: true })
      }
    })
    bench.say('the first start makes the cluster')
    await startOnce(bench, port, dataDir)
    const starts = await bench.interleave<number>([
      { name: 'npm start', measure: () => startOnce(bench, port, dataDir) }
    ])
    return {
      tables: [
        {
          title: '`npm start`, not for the first time',
          rows: [
            row(
              'to the first POST that is answered 201',
              's',
              starts.get('npm start') ?? [],
              atMost(3)
            )
          ]
        }
      ]
    }
  }
}

/**
 * Starts the service, posts until a message is accepted, and stops it. Resolves with the seconds
 * from the start to that message.
 */
async function startOnce(bench: Bench, port: number, dataDir: string): Promise<number> {
  const startedMs = performance.now()
  const npm = spawn('npm', ['start', '--silent'], {
    cwd: ROOT,
    env: { ...process.env, PORT: String(port), DATA_DIR: dataDir },
    stdio: ['ignore', 'ignore', 'pipe']
  })
  let errors = ''
  npm.stderr.on('data', chunk => {
    errors += String(chunk)
  })
  // When the benchmark is interrupted, stop the service before its folder is removed.
  await bench.keep({ stop: () => end(npm) })
  try {
    while (!(await isStored(port))) {
      if (npm.exitCode !== null) throw new Error(`npm start ended: ${errors}`)
      if (performance.now() - startedMs > START_MS_MAX) {
        throw new Error(`npm start took no message in ${START_MS_MAX / 1000} s: ${errors}`)
      }
      await sleep(POLL_MS)
    }
    return (performance.now() - startedMs) / 1000
  } finally {
    await end(npm)
  }
}

async function isStored(port: number): Promise<boolean> {
  try {
    const body = JSON.stringify({ user: 'bench', text: 'hello' })
    const answer = await fetch(`http://127.0.0.1:${port}/rooms/bench/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body
    })
    await answer.arrayBuffer()
    return answer.status === 201
  } catch {
    return false // nobody listens yet
  }
}

async function end(npm: ChildProcess): Promise<void> {
  if (npm.exitCode !== null || npm.signalCode !== null) return
  const ended = once(npm, 'exit')
  npm.kill('SIGTERM')
  await ended
}
