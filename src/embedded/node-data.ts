// What a stopped node has on disk, and whether it is less than it was. A node that starts without
// its data is copied by its replica, and a part of all messages is gone without a word. So
// cluster.json, which lies apart from the nodes' folders, remembers each node's id and the sizes of
// its append-only files. These only grow until they are replaced by others of new names, so that an
// old record is a sound lower bound. Not noticed: bytes changed in place, which Redis finds itself.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

export type NodeData = {
  /** The node's id in the cluster. */
  readonly id: string
  /** The append-only files that were in use, and their bytes. */
  readonly files: Readonly<Record<string, number>>
}

/** Below a node's folder. */
export const AOF_FOLDER = 'appendonlydir'
export const confIn = (dir: string): string => join(dir, 'nodes.conf')

/** What the node in this folder has; undefined where it has never been started. */
export function dataIn(dir: string): NodeData | undefined {
  const id = myselfIn(dir)
  if (id === undefined) return undefined
  const files = Object.fromEntries(
    filesIn(dir).map(file => [file, sizeOf(join(dir, AOF_FOLDER, file)) ?? 0])
  )
  return { id, files }
}

/** What is missing in the folder of a node that had `known`; undefined when nothing is. */
export function faultOf(dir: string, known: NodeData): string | undefined {
  if (!existsSync(dir)) return 'its folder is missing'
  const conf = confIn(dir)
  if (!existsSync(conf)) return 'its nodes.conf is missing'
  if (!isWhole(readFileSync(conf, 'utf8')) || myselfIn(dir) === undefined) {
    return 'its nodes.conf is damaged'
  }
  const files = filesIn(dir)
  if (files.length === 0) return `${join(AOF_FOLDER, manifestName)} is missing or damaged`
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
 * What Redis has cut off while it started. After a crash the last command may be in the file in
 * part; it was not answered, unless the whole machine had stopped.
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

const manifestName = 'appendonly.aof.manifest'

function myselfIn(dir: string): string | undefined {
  return /^(\w{40}) \S+ \S*\bmyself\b/m.exec(textOf(confIn(dir)))?.[1]
}

// Lines `<id> <address> <flags> <master> <ping> <pong> <epoch> <link> <slots>…`, and one of vars,
// each with its end.
function isWhole(conf: string): boolean {
  const lines = conf.split('\n')
  return (
    lines.pop() === '' && lines.every(line => /^(vars( \w+ \d+)+|\w{40}( \S+){7,} ?)$/.test(line))
  )
}

// Lines `file <name> seq <n> type <b, i or h>`; h are of the past and about to be deleted.
function filesIn(dir: string): string[] {
  const manifest = textOf(join(dir, AOF_FOLDER, manifestName))
  return [...manifest.matchAll(/^file (\S+) seq \d+ type [bi]/gm)].flatMap(([, name]) => name ?? [])
}

const textOf = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '')

const sizeOf = (file: string): number | undefined => statSync(file, { throwIfNoEntry: false })?.size
