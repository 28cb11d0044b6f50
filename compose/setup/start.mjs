// `npm start`: sets up what is missing, then becomes the service. The service runs in this very process, so that a signal to npm
// reaches it.

import { giveUp, setUp } from './setup.mjs'

// With a cluster of one's own no Redis is needed here.
await setUp({ tools: process.env.REDIS_NODES ? [] : ['redis'] }).catch(giveUp)
if (process.env.npm_lifecycle_event) endWithParent()
await import('../../dist/src/main.js')

// npm that is killed outright can pass nothing on; without it the service would go on running unseen, and hold its port.
function endWithParent () {
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    process.kill(process.pid, 'SIGTERM')
  }, 1000)
  timer.unref()
}
