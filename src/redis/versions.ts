// The servers on which tests were run. A version is added here when the tests of the store, of the
// scripts and of half-moved slots have passed on it; that its neighbours were tried does not count.
// Other servers may well work; with these the service logs a warning once, at start.

const TRIED: Readonly<Record<string, readonly string[]>> = {
  Redis: ['7.0', '8.2', '8.6'],
  Valkey: ['8.0', '8.1', '9.1']
}

/**
 * A warning about a server that the tests were not run on; undefined if they were.
 * @param server as it names itself: `Redis 8.2.3`, `Valkey 9.1.2`
 */
export function untriedIn(server: string): string | undefined {
  const [name = '', version = ''] = server.split(' ')
  const [, minor] = /^(\d+\.\d+)(?:\.|$)/.exec(version) ?? []
  if (minor !== undefined && TRIED[name]?.includes(minor) === true) return undefined
  const tried = Object.entries(TRIED).map(([name, versions]) => `${name} ${listed(versions)}`)
  return `${server} has not been tried with this service, which was tested on ${tried.join(', and on ')}.`
}

const listed = (versions: readonly string[]): string =>
  `${versions.slice(0, -1).join(', ')} and ${versions.at(-1)}`
