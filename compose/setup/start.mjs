// `npm start` sets up what is missing and then becomes the service. The service runs in this same
// process, so a signal to npm reaches it.

import { giveUp, setUp } from './setup.mjs'

// With REDIS_NODES a cluster already exists, and no Redis is needed on this machine.
await setUp({ tools: process.env.REDIS_NODES ? [] : ['redis'] }).catch(giveUp)
if (process.env.npm_lifecycle_event) endWithParent()
await import('../../dist/service/main.js')

// If npm is killed with SIGKILL, it cannot pass the signal on. Without this, the service would keep
// running unseen and hold its port.
function endWithParent() {
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    process.kill(process.pid, 'SIGTERM')
  }, 1000)
  timer.unref()
}
