// Preloaded into the service's process by `--profile`: samples where its time goes, and writes a
// .cpuprofile when it ends. Node does not allow --cpu-prof in NODE_OPTIONS. The folder is in the
// module's URL, after the `?`.
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { join } from 'node:path'

const folder = decodeURIComponent(new URL(import.meta.url).search.slice(1))
const session = new Session()
session.connect()
session.post('Profiler.enable')
session.post('Profiler.start')
process.once('exit', () => {
  // Within its own process, the inspector answers synchronously.
  session.post('Profiler.stop', (error, answer) => {
    if (error === null) {
      writeFileSync(
        join(folder, `service-${process.pid}.cpuprofile`),
        JSON.stringify(answer.profile)
      )
    }
  })
})
