// `npm run bench`: runs the parts one after the other, each with a service and a cluster of its
// own, and shows, prints or records the results. Each part has a file in parts/, each peer one in
// targets/.
import { runCommand } from '../src/cli/options.js'
import { messageOf } from '../src/errors.js'
import { describeMachine } from './machine.js'
import { help, readBenchOptions } from './options.js'
import { Bench, type Part } from './part.js'
import { channels } from './parts/channels.js'
import { connections } from './parts/connections.js'
import { dialogs } from './parts/dialogs.js'
import { even } from './parts/even.js'
import { fanout } from './parts/fanout.js'
import { history } from './parts/history.js'
import { idle } from './parts/idle.js'
import { inbox } from './parts/inbox.js'
import { latency } from './parts/latency.js'
import { memory } from './parts/memory.js'
import { post } from './parts/post.js'
import { start } from './parts/start.js'
import { storm } from './parts/storm.js'
import { tails } from './parts/tails.js'
import { token } from './parts/token.js'
import { profileText } from './profile.js'
import { record, type Measured } from './results.js'
import { resultOf, tableText } from './table.js'
import { Dialogs } from './targets/dialogs.js'

const PARTS: readonly Part[] = [
  post,
  token,
  fanout,
  latency,
  dialogs,
  tails,
  inbox,
  history,
  connections,
  idle,
  channels,
  storm,
  even,
  memory,
  start
]

await runCommand(async args => {
  const options = readBenchOptions(args, PARTS)
  if (options.isHelp) {
    console.log(help(PARTS))
    return 0
  }
  const machine = describeMachine()
  const measured: Measured[] = []
  const failures: string[] = []
  let shared: Promise<Dialogs> | undefined
  let current: Bench | undefined
  let isStopped = false
  const close = async (): Promise<void> => {
    await current?.close()
    // A service that did not start need not be stopped; its part has already reported the error.
    await (await shared?.catch(() => undefined))?.stop()
  }
  const startDialogs = async (services: number): Promise<Dialogs> => {
    if (!options.isShort || services > 1) {
      return await Dialogs.start(options.profileFolder, services)
    }
    shared ??= Dialogs.start()
    return await shared
  }
  // The first signal stops everything that was started. A second one does not wait for that.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (isStopped) process.exit(1)
      isStopped = true
      close().finally(() => process.exit(1))
    })
  }
  try {
    for (const part of options.parts) {
      if (isStopped) break
      const scale = options.scaleOf(part)
      const bench = (current = new Bench(part.name, scale, startDialogs))
      const startedMs = performance.now()
      try {
        const { tables, costs = {} } = await part.run(bench)
        const results = tables.map(table => resultOf(table, !options.isShort))
        measured.push({
          part: part.name,
          rounds: scale.rounds,
          seconds: Math.round((performance.now() - startedMs) / 1000),
          at: new Date().toISOString(),
          machine,
          tables: results,
          costs
        })
        if (!options.isJson) {
          console.log(`\n${part.name}: ${part.about}\n\n${results.map(tableText).join('\n\n')}\n`)
        }
      } catch (error) {
        failures.push(part.name)
        bench.say(`failed: ${messageOf(error)}`)
      } finally {
        await bench.close()
      }
    }
  } finally {
    await close()
  }
  if (options.profileFolder !== undefined) console.log(profileText(options.profileFolder))
  if (options.isJson) {
    console.log(
      JSON.stringify({ machine, isShort: options.isShort, failed: failures, measured }, null, 2)
    )
  }
  if (options.isRecorded) record(measured)
  return failures.length > 0 ? 1 : 0
})
