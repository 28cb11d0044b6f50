// Profiles of the service's process: makes it write them, and shows where its time went. A
// function's share does not include the functions that it calls. Chromium's developer tools can
// open the files.
import { readdirSync, readFileSync } from 'node:fs'
import type { Profiler } from 'node:inspector'
import { join } from 'node:path'

/** The option of Node that makes a process write its profile into a folder when it ends. */
export const profiling = (folder: string): string =>
  `--import=${new URL('./programs/profile.js', import.meta.url).href}?${encodeURIComponent(folder)}`

const SHOWN = 15

/**
 * One line for each of the functions that took the most time over all profiles of a folder, with
 * its share of the busy time.
 */
export function profileText(folder: string): string {
  const times = new Map<string, number>()
  for (const file of readdirSync(folder).filter(name => name.endsWith('.cpuprofile'))) {
    // Written by the module above.
    addTimes(times, JSON.parse(readFileSync(join(folder, file), 'utf8')) as Profiler.Profile)
  }
  const busy = [...times].filter(([place]) => !place.startsWith('(idle)'))
  const total = busy.reduce((sum, [, time]) => sum + time, 0)
  const lines = busy
    .sort(([, a], [, b]) => b - a)
    .slice(0, SHOWN)
    .map(([place, time]) => `${((time / total) * 100).toFixed(1).padStart(6)} %  ${place}`)
  return ["where the time of the service's process went", ...lines].join('\n')
}

function addTimes(
  times: Map<string, number>,
  { nodes, samples = [], timeDeltas = [] }: Profiler.Profile
): void {
  const places = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const file = url.replace(/^.*\/(?=[^/]+\/[^/]+$)/, '')
      return [
        id,
        `${functionName === '' ? '(anonymous)' : functionName}${file === '' ? '' : `  ${file}:${lineNumber + 1}`}`
      ]
    })
  )
  for (const [index, id] of samples.entries()) {
    const place = places.get(id) ?? ''
    times.set(place, (times.get(place) ?? 0) + (timeDeltas[index] ?? 0))
  }
}
