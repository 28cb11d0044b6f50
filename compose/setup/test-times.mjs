// What each test file needs: how many seconds it takes by itself on two cores, and how many
// processors it keeps busy meanwhile. test-run.mjs schedules the files by these figures, which need
// not be exact. Only unusual files are listed; after a change, `npm test` shows the seconds.

const usual = { seconds: 10, cores: 0.45 }
const usualUnit = { seconds: 3, cores: 1 }

/**
 * Files that judge times, or load the whole machine. They run when nothing else does, and beside
 * one another only as far as there are processors for all of them.
 */
const quiet = {
  'containers/compose': { seconds: 600, cores: Infinity },
  'faults/drill': { seconds: 120, cores: 1.2 },
  'faults/large-room': { seconds: 20, cores: Infinity },
  'faults/partitions': { seconds: 95, cores: 0.8 },
  'faults/unread': { seconds: 35, cores: Infinity }
}

const measured = {
  'cluster/bench': { seconds: 70, cores: 0.7 },
  'cluster/check': { seconds: 40, cores: 0.7 },
  'cluster/cluster-cli': { seconds: 80, cores: 0.9 },
  'cluster/contract': { seconds: 80, cores: 0.7 },
  'cluster/denials': { seconds: 45, cores: 0.8 },
  'cluster/embedded': { seconds: 35, cores: 0.4 },
  'cluster/embedded-loss': { seconds: 50, cores: 0.4 },
  'cluster/mover-crashes': { seconds: 75, cores: 0.4 },
  'cluster/msggen': { seconds: 25, cores: 0.5 },
  'cluster/stream-limits': { seconds: 15, cores: 0.9 },
  'faults/deletions': { seconds: 40, cores: 0.4 },
  'faults/dialogs': { seconds: 60, cores: 0.7 },
  'faults/eventsource': { seconds: 75, cores: 1.1 },
  'faults/half-moved': { seconds: 50, cores: 0.7 },
  'faults/lost-data': { seconds: 50, cores: 0.3 },
  'faults/lost-publications': { seconds: 30, cores: 0.4 },
  'faults/proxy': { seconds: 50, cores: 1.2 },
  'faults/rights': { seconds: 50, cores: 0.6 },
  'faults/secrets': { seconds: 60, cores: 0.4 },
  'faults/store-faults': { seconds: 150, cores: 1.4 },
  'faults/stream-faults': { seconds: 70, cores: 1.1 },
  'faults/workers': { seconds: 60, cores: 0.8 },
  'page/cluster': { seconds: 30, cores: 0.6 },
  'page/dialogs': { seconds: 25, cores: 0.8 },
  'page/endurance': { seconds: 30, cores: 1 },
  'page/identity': { seconds: 40, cores: 0.6 },
  'page/look': { seconds: 55, cores: 0.7 },
  'page/network': { seconds: 50, cores: 1.2 },
  'page/page': { seconds: 50, cores: 0.7 },
  'page/places': { seconds: 30, cores: 0.6 },
  'page/scrolling': { seconds: 30, cores: 0.8 },
  'page/sending': { seconds: 20, cores: 1.2 },
  'page/tabs': { seconds: 90, cores: 1.6 },
  'page/two-people': { seconds: 110, cores: 0.6 },
  'page/voided': { seconds: 35, cores: 0.6 },
  'unit/simulation': { seconds: 110, cores: 2 }
}

/** @returns `{ seconds, cores, isQuiet }`; quiet files run apart from all others */
export function needsOf(name) {
  const needs = quiet[name] ?? measured[name] ?? (name.startsWith('unit/') ? usualUnit : usual)
  return { ...needs, isQuiet: name in quiet }
}
