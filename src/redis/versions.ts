// The servers on which the service has been tested: `npm run test:servers` runs the tests and
// drills on them. Other servers may well work; with these the service logs a warning once, at
// start.

type Version = readonly [major: number, minor: number]

const TRIED: Readonly<Record<string, { readonly from: Version; readonly to: Version }>> = {
  Redis: { from: [7, 0], to: [8, 6] },
  Valkey: { from: [8, 0], to: [9, 1] }
}

/**
 * A warning about a server that the tests were not run on; undefined if they were.
 * @param server as it names itself: `Redis 8.2.3`, `Valkey 9.1.2`
 */
export function untriedIn(server: string): string | undefined {
  const [name = '', version = ''] = server.split(' ')
  const tried = TRIED[name]
  const [major = NaN, minor = NaN] = version.split('.').map(Number)
  if (
    tried !== undefined &&
    major + minor >= 0 &&
    !isBefore([major, minor], tried.from) &&
    !isBefore(tried.to, [major, minor])
  ) {
    return undefined
  }
  const ranges = Object.entries(TRIED).map(
    ([name, { from, to }]) => `${name} ${from.join('.')} to ${to.join('.')}`
  )
  return `${server} has not been tried with this service, which is tested on ${ranges.join(' and ')}.`
}

const isBefore = (a: Version, b: Version): boolean => a[0] < b[0] || (a[0] === b[0] && a[1] < b[1])
