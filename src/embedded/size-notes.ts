// Records, while the nodes run, how large their append-only files have become. cluster.json knows
// only the sizes at the last start or stop: after a crash, nobody would notice that the part
// written since then was cut off. A size is recorded one interval after it was read. By then that
// part is on the disk (`appendfsync everysec`), even if the whole machine stops. The record has a
// file of its own, because the cluster command may write cluster.json at any time.

import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readManifest, writeManifest } from './manifest.js'
import { dataIn, type NodeData } from './node-data.js'

const INTERVAL_MS = 5000

type Notes = Readonly<Record<string, NodeData>>

export class SizeNotes {
  readonly #dataDir: string
  #timer: NodeJS.Timeout | undefined
  /** The sizes of one interval ago. */
  #before = ''

  constructor(dataDir: string) {
    this.#dataDir = dataDir
  }

  start(intervalMs = INTERVAL_MS): void {
    let noted = ''
    this.#timer = setInterval(() => {
      try {
        if (this.#before !== noted) write(this.#dataDir, this.#before)
        noted = this.#before
        this.#before = textOf(this.#dataDir)
      } catch {
        // If the disk is full or the folder is being removed, the older record stays, which is
        // still valid. If anything else is wrong with the folder, the next start reports it.
      }
    }, intervalMs)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

/**
 * Moves the record into cluster.json. Call it only before a start, when nobody else writes that
 * file.
 */
export function takeNotes(dataDir: string): void {
  const file = fileIn(dataDir)
  const manifest = readManifest(dataDir)
  if (manifest === undefined || !existsSync(file)) return
  const notes = parse(readFileSync(file, 'utf8'))
  writeManifest(dataDir, {
    ...manifest,
    nodes: manifest.nodes.map(entry => {
      const noted = notes[entry.name]
      const { id, files } = entry.data ?? noted ?? {}
      return noted === undefined || noted.id !== id
        ? entry
        : { ...entry, data: { id, files: larger(files ?? {}, noted.files) } }
    })
  })
  rmSync(file)
}

const fileIn = (dataDir: string): string => join(dataDir, 'sizes.json')

function textOf(dataDir: string): string {
  const entries = (readManifest(dataDir)?.nodes ?? []).flatMap(({ name }) => {
    const data = dataIn(join(dataDir, name))
    return data === undefined ? [] : [[name, data] as const]
  })
  return JSON.stringify(Object.fromEntries(entries))
}

function write(dataDir: string, text: string): void {
  const file = fileIn(dataDir)
  writeFileSync(`${file}.new`, text)
  renameSync(`${file}.new`, file)
}

// A crash of the whole machine may leave anything in the file. The record in cluster.json is older.
function parse(text: string): Notes {
  try {
    return JSON.parse(text) as Notes // Written above.
  } catch {
    return {}
  }
}

function larger(
  files: Readonly<Record<string, number>>,
  noted: Readonly<Record<string, number>>
): Record<string, number> {
  const sizes = { ...files }
  for (const [file, size] of Object.entries(noted)) sizes[file] = Math.max(size, sizes[file] ?? 0)
  return sizes
}
