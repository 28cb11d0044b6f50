// The message generator: posts messages as one busy user or as a crowd, shows its progress, and
// prints a summary. It only connects the parts: options, crowd, load, progress and summary have
// files of their own.
import { crowd } from './crowd.js'
import { fates } from './fates.js'
import { Load } from './load.js'
import { HELP, readMsggenOptions } from './msggen-options.js'
import { runCommand } from './options.js'
import { Progress } from './progress.js'
import { Summary } from './summary.js'

await runCommand(async args => {
  const options = readMsggenOptions(args)
  if (options.isHelp) {
    console.log(HELP)
    return 0
  }
  const summary = new Summary()
  const progress = new Progress({
    unit: 'messages',
    total: options.count,
    durationMs: options.durationMs
  })
  const show = (): void => {
    progress.update(summary.acknowledged + summary.failed, summary.failed)
  }
  const load = new Load({
    ...options,
    compose: crowd(options),
    fateOf: fates(options.changedPercent, options.deletedPercent),
    onChanged: (_message, fate) => {
      summary.addChange(fate)
    },
    onAcknowledged: message => {
      summary.addAcknowledged(message)
      show()
    },
    onFailed: message => {
      summary.addFailed(message)
      show()
    }
  })
  let isStopped = false
  const stop = (): void => {
    if (isStopped) return load.abort()
    isStopped = true
    progress.print('Waiting for the messages in flight. Press Ctrl-C again to give them up.')
    load.stop()
  }
  process.on('SIGINT', stop).on('SIGTERM', stop)

  const startedMs = performance.now()
  try {
    await load.run()
  } finally {
    progress.stop()
  }
  const seed = options.users === undefined ? undefined : options.seed
  const ending = {
    sent: load.sent,
    overdue: load.overdue,
    elapsedMs: performance.now() - startedMs,
    isStopped,
    seed
  }
  console.log(
    options.isJson ? JSON.stringify(summary.toJSON(ending), null, 2) : summary.toText(ending)
  )
  return summary.failed > 0 ? 1 : 0
})
