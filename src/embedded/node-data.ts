// What a stopped node has on disk, and whether it is less than before. If a master starts without
// its data, its replica copies the empty master, and a part of all messages is gone without a word.
// So cluster.json, which is not in the nodes' folders, records the id of each node and the sizes of
// its append-only files. These files only grow until files with new names replace them, so an old
// record is a valid lower bound; size-notes.ts renews it while the nodes run. Two losses are not
// noticed here. Redis itself finds bytes that were changed in place. But if a crash cuts up to ten
// seconds off the end of a file, and the cut falls between two commands, nobody can see it. So the
// first start after a stop of the whole machine says so (lock.ts).
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

export type NodeData = {
  /** The node's id in the cluster. */
  readonly id: string
  /** The size of each append-only file in use, in bytes. */
  readonly files: Readonly<Record<string, number>>
}

/** In the folder of a node. */
export const AOF_FOLDER = 'appendonlydir'
export const confIn = (dir: string): string => join(dir, 'nodes.conf')

/** What the node in this folder has; undefined if it was never started. */
export function dataIn(dir: string): NodeData | undefined {
  const id = myselfIn(dir)
  if (id === undefined) return undefined
  const files = Object.fromEntries(
    filesIn(dir).map(file => [file, sizeOf(join(dir, AOF_FOLDER, file)) ?? 0])
  )
  return { id, files }
}

/** What is missing in the folder of a node that had `known`; undefined if nothing is. */
export function faultOf(dir: string, known: NodeData): string | undefined {
  if (!existsSync(dir)) return 'its folder is missing'
  const conf = confIn(dir)
  if (!existsSync(conf)) return 'its nodes.conf is missing'
  if (!isWhole(readFileSync(conf, 'utf8')) || myselfIn(dir) === undefined) {
    return 'its nodes.conf is damaged'
  }
  const files = filesIn(dir)
  if (files.length === 0) return `${join(AOF_FOLDER, MANIFEST_NAME)} is missing or damaged`
  for (const file of files) {
    const size = sizeOf(join(dir, AOF_FOLDER, file))
    if (size === undefined) return `${join(AOF_FOLDER, file)} is missing`
    const before = known.files[file] ?? 0
    if (size < before) {
      return `${join(AOF_FOLDER, file)} has ${size} bytes and had ${before}`
    }
  }
  return undefined
}

/**
 * What Redis cut off while it started, as lines of text. After a crash the file may end with a part
 * of a command. That command was usually not answered; but while the disk is busy, Redis answers up
 * to two seconds before it writes.
 */
export function tornSince(before: ReadonlyArray<NodeData | undefined>, dirs: string[]): string[] {
  return dirs.flatMap((dir, index) =>
    Object.entries(dataIn(dir)?.files ?? {}).flatMap(([file, size]) => {
      const cut = (before[index]?.files[file] ?? 0) - size
      return cut > 0
        ? [`Redis cut a torn command of ${cut} bytes off the end of ${join(dir, AOF_FOLDER, file)}`]
        : []
    })
  )
}

const MANIFEST_NAME = 'appendonly.aof.manifest'

function myselfIn(dir: string): string | undefined {
  return /^(\w{40}) \S+ \S*\bmyself\b/m.exec(textOf(confIn(dir)))?.[1]
}

// Lines `<id> <address> <flags> <master> <ping> <pong> <epoch> <link> <slots>…` and one line `vars
// …`, each ending in a line break.
function isWhole(conf: string): boolean {
  const lines = conf.split('\n')
  return (
    lines.pop() === '' && lines.every(line => /^(vars( \w+ \d+)+|\w{40}( \S+){7,} ?)$/.test(line))
  )
}

// Lines `file <name> seq <n> type <b, i or h>`. Files of type h are history and will be deleted.
function filesIn(dir: string): string[] {
  const manifest = textOf(join(dir, AOF_FOLDER, MANIFEST_NAME))
  return [...manifest.matchAll(/^file (\S+) seq \d+ type [bi]/gm)].flatMap(([, name]) => name ?? [])
}

const textOf = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '')

const sizeOf = (file: string): number | undefined => statSync(file, { throwIfNoEntry: false })?.size
