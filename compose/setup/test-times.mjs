// What each test file needs: how many seconds it takes by itself on two cores, and how many
// processors it keeps busy meanwhile. test-run.mjs schedules the files by these figures, which need
// not be exact. Only unusual files are listed; after a change, `npm test` shows the seconds.

const usual = { seconds: 10, cores: 0.6 }
const usualUnit = { seconds: 3, cores: 1 }

/** Files that load the whole machine or judge times: nothing runs beside them. */
const alone =
  /^containers\/|^page\/(network|sending|tabs)$|^faults\/(drill|large-room|partitions|unread)$/

const measured = {
  'cluster/bench': { seconds: 70, cores: 0.9 },
  'cluster/check': { seconds: 35, cores: 1 },
  'cluster/cluster-cli': { seconds: 105, cores: 0.8 },
  'cluster/contract': { seconds: 70, cores: 0.8 },
  'cluster/embedded': { seconds: 25, cores: 0.6 },
  'cluster/embedded-loss': { seconds: 25, cores: 0.6 },
  'cluster/msggen': { seconds: 20, cores: 0.8 },
  'faults/deletions': { seconds: 40, cores: 0.6 },
  'faults/dialogs': { seconds: 50, cores: 0.8 },
  'faults/eventsource': { seconds: 70, cores: 1 },
  'faults/half-moved': { seconds: 25, cores: 0.6 },
  'faults/lost-data': { seconds: 40, cores: 0.5 },
  'faults/proxy': { seconds: 40, cores: 0.8 },
  'faults/secrets': { seconds: 40, cores: 0.5 },
  'faults/store-faults': { seconds: 150, cores: 1.5 },
  'faults/stream-faults': { seconds: 60, cores: 1 },
  'faults/workers': { seconds: 40, cores: 0.5 },
  'page/dialogs': { seconds: 25, cores: 0.8 },
  'page/endurance': { seconds: 30, cores: 1 },
  'page/identity': { seconds: 40, cores: 0.6 },
  'page/two-people': { seconds: 110, cores: 0.8 },
  'unit/simulation': { seconds: 120, cores: 2 }
}

/** `cores` is at most `coresMax`; nothing may run beside a file that `isAlone`. */
export function needsOf(name, coresMax) {
  const { seconds, cores } = measured[name] ?? (name.startsWith('unit/') ? usualUnit : usual)
  const isAlone = alone.test(name)
  return { seconds, cores: isAlone ? coresMax : Math.min(cores, coresMax), isAlone }
}
