// Preloaded into the service's process by `--profile`: samples where its time goes, and writes it as a .cpuprofile when it ends. Node's own
// --cpu-prof cannot be given through NODE_OPTIONS. The folder stands in the module's URL, behind `?`.
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { join } from 'node:path'

const folder = decodeURIComponent(new URL(import.meta.url).search.slice(1))
const session = new Session()
session.connect()
session.post('Profiler.enable')
session.post('Profiler.start')
process.once('exit', () => {
  // Within its own process the inspector answers at once.
  session.post('Profiler.stop', (error, answer) => {
    if (error === null) writeFileSync(join(folder, `service-${process.pid}.cpuprofile`), JSON.stringify(answer.profile))
  })
})
