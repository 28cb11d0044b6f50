// Restores a node that has lost its data, while all nodes are stopped: it gets the copy of its
// shard that another node has on disk. It comes back with its old id, role and slots, so the others
// notice nothing. Whatever the copy lacks is lost, so only a person may start this. The remains of
// the node are moved aside and never deleted.

import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type ManifestNode } from './manifest.js'
import { AOF_FOLDER, confIn, faultOf } from './node-data.js'

type Lost = { readonly entry: ManifestNode; readonly fault: string }

/** The nodes that have less on disk than before. */
export function lostNodes(dataDir: string, entries: readonly ManifestNode[]): Lost[] {
  return entries.flatMap(entry => {
    const fault =
      entry.data === undefined ? undefined : faultOf(join(dataDir, entry.name), entry.data)
    return fault === undefined ? [] : [{ entry, fault }]
  })
}

/** One line: what is lost, and what to do. */
export function refusalOf(dataDir: string, lost: readonly Lost[]): string {
  const what = lost.map(({ entry, fault }) => `${entry.name} (${fault})`).join(', ')
  return `${dataDir} has lost data of ${what}: put it back from a backup, or, if it is gone for good, replace it with the data of other nodes: npm run accept-loss -- --yes`
}

/**
 * Restores the lost nodes from the others. Returns a line of text for each.
 * @throws Error when no node is left that knows the cluster
 */
export function restore(
  dataDir: string,
  entries: readonly ManifestNode[],
  lost: readonly Lost[]
): string[] {
  const whole = entries.filter(
    ({ name, data }) => data !== undefined && !lost.some(({ entry }) => entry.name === name)
  )
  const views = whole
    .map(entry => viewOf(join(dataDir, entry.name), entry))
    .sort((a, b) => b.epoch - a.epoch)
  const [newest] = views
  if (newest === undefined) {
    throw new Error(
      `No node in ${dataDir} has its data: put a backup back, or move the folder away to start with an empty cluster`
    )
  }
  return lost.map(({ entry: { name, data } }) => {
    const id = data?.id ?? ''
    const dir = join(dataDir, name)
    const remains = setAside(dir)
    mkdirSync(dir)
    writeFileSync(join(dir, 'nodes.conf'), confOf(newest, id))
    // A replica gets its data from its master.
    if (!hasSlots(newest, id)) return `${name} will copy its data from its master`
    const copy = views.find(view => view.lines.some(line => isReplicaOf(line, view.id, id)))
    const source = copy?.dir ?? remains
    const files = source === undefined ? undefined : join(source, AOF_FOLDER)
    if (files !== undefined && existsSync(files)) {
      cpSync(files, join(dir, AOF_FOLDER), { recursive: true })
    }
    return copy === undefined
      ? `No other node has a copy of ${name}: it continues with what is left`
      : `${name} continues with the copy of ${basename(copy.dir)}`
  })
}

type View = {
  readonly dir: string
  readonly id: string
  readonly epoch: number
  readonly lines: readonly string[]
}

function viewOf(dir: string, entry: ManifestNode): View {
  const conf = readFileSync(confIn(dir), 'utf8')
  return {
    dir,
    id: entry.data?.id ?? '',
    epoch: Number(/^vars currentEpoch (\d+)/m.exec(conf)?.[1] ?? 0),
    lines: conf.split('\n').filter(line => line !== '')
  }
}

// The nodes.conf of another node, rewritten as the node `id` would have it.
function confOf(view: View, id: string): string {
  const lines = view.lines.map(line => {
    if (line.startsWith('vars ')) return line
    const [node = '', address = '', flags = '', ...rest] = line.split(' ')
    const others = flags.split(',').filter(flag => !['myself', 'fail', 'fail?'].includes(flag))
    if (node !== id) return [node, address, others.join(), ...rest].join(' ')
    // If another node has replaced this master, it becomes a replica.
    const master = isMaster(line) && !hasSlots(view, id) ? neediest(view) : undefined
    return master === undefined
      ? [node, address, ['myself', ...others].join(), ...rest].join(' ')
      : [node, address, 'myself,slave', master, '0 0', ...rest.slice(3)].join(' ')
  })
  return `${lines.join('\n')}\n`
}

function neediest({ lines }: View): string | undefined {
  const replicas = (line: string): number =>
    lines.filter(other => isReplicaOf(other, idOf(other), idOf(line))).length
  const [line] = lines
    .filter(line => isMaster(line) && slotsOf(line).length > 0)
    .sort((a, b) => replicas(a) - replicas(b))
  return line === undefined ? undefined : idOf(line)
}

const hasSlots = ({ lines }: View, id: string): boolean =>
  lines.some(line => idOf(line) === id && slotsOf(line).length > 0)

// `<id> <address> <flags> <master or -> <ping> <pong> <epoch> <link> <slots>…`
const idOf = (line: string): string => line.slice(0, line.indexOf(' '))
const slotsOf = (line: string): string[] =>
  line
    .split(' ')
    .slice(8)
    .filter(word => /^\d/.test(word))
const isMaster = (line: string): boolean => /^\w+ \S+ \S*master/.test(line)
const isReplicaOf = (line: string, id: string, master: string): boolean =>
  new RegExp(`^${id} \\S+ \\S*slave\\S* ${master} `).test(line)

// Returns the new path; undefined if there is nothing to move.
function setAside(dir: string): string | undefined {
  if (!existsSync(dir)) return undefined
  let number = 1
  while (existsSync(`${dir}.lost-${number}`)) number++
  renameSync(dir, `${dir}.lost-${number}`)
  return `${dir}.lost-${number}`
}
