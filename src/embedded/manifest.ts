// cluster.json in the data directory: which nodes belong to the cluster, in which folder and on
// which port, and whether the cluster was completed. It is written before any folder and always
// replaced as a whole, so a crash never leaves an unknown folder. Remembers what each node had on
// disk (node-data.ts). Also gives nodes new ports, which Redis keeps in each node's nodes.conf.

import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { dataIn, faultOf, type NodeData } from './node-data.js'

export type ManifestNode = {
  readonly name: string
  readonly port: number
  /** What the node had on disk at the last look; absent until it has run. */
  readonly data?: NodeData
  /** The cluster command started it and has not finished adding it. */
  readonly isJoining?: boolean
}
export type Manifest = { readonly isComplete: boolean; readonly nodes: readonly ManifestNode[] }

/** The manifest of a data directory; undefined if there is no cluster yet. */
export function readManifest(dataDir: string): Manifest | undefined {
  const file = manifestFile(dataDir)
  if (!existsSync(file)) {
    const folder = readdirSync(dataDir).find(name => /^node-\d+$/.test(name))
    if (folder === undefined) return undefined
    throw new Error(
      `${dataDir} holds ${folder} but no cluster.json: put it back, or move the folder away to start with an empty cluster`
    )
  }
  const manifest: unknown = parse(readFileSync(file, 'utf8'))
  if (!isManifest(manifest)) {
    throw new Error(
      `${file} is damaged: repair it, or move ${dataDir} away to start with an empty cluster`
    )
  }
  return manifest
}

export function writeManifest(dataDir: string, manifest: Manifest): void {
  const file = manifestFile(dataDir)
  writeFileSync(`${file}.new`, JSON.stringify(manifest, null, 2) + '\n')
  renameSync(`${file}.new`, file)
}

/**
 * Adds a node to the manifest on disk. Both the owner and the cluster command add nodes while the
 * cluster runs, so neither may write back what it read earlier.
 */
export function enterNode(dataDir: string, port: number, isJoining = false): ManifestNode {
  const manifest = readManifest(dataDir) ?? { isComplete: true, nodes: [] }
  const entry = { name: nextName(manifest.nodes), port, ...(isJoining ? { isJoining } : {}) }
  writeManifest(dataDir, { ...manifest, nodes: [...manifest.nodes, entry] })
  return entry
}

/** Notes on disk that nodes have been added completely. */
export function noteJoined(dataDir: string, ports: readonly number[]): void {
  const manifest = readManifest(dataDir)
  if (manifest === undefined) return
  const nodes = manifest.nodes.map(({ isJoining = false, ...entry }) =>
    isJoining && !ports.includes(entry.port) ? { ...entry, isJoining } : entry
  )
  writeManifest(dataDir, { ...manifest, nodes })
}

/** Removes a node from the manifest on disk. */
export function strikeNode(dataDir: string, name: string): void {
  const manifest = readManifest(dataDir)
  if (manifest !== undefined) {
    writeManifest(dataDir, {
      ...manifest,
      nodes: manifest.nodes.filter(entry => entry.name !== name)
    })
  }
}

/**
 * Records what each node has on disk now. The next start requires at least that much. If a node has
 * less than its record says, the older record stays, unless the node has just loaded its data.
 */
export function rememberData(dataDir: string, isLoaded: boolean): void {
  const manifest = readManifest(dataDir)
  if (manifest === undefined) return
  const nodes = manifest.nodes.map(entry => {
    const dir = join(dataDir, entry.name)
    const data = dataIn(dir)
    const isLess = !isLoaded && entry.data !== undefined && faultOf(dir, entry.data) !== undefined
    return data === undefined || isLess ? entry : { ...entry, data }
  })
  writeManifest(dataDir, { ...manifest, nodes })
}

/** The next unused node name. */
function nextName(nodes: readonly ManifestNode[]): string {
  const numbers = nodes.map(node => Number(node.name.replace('node-', '')))
  return `node-${Math.max(0, ...numbers) + 1}`
}

/**
 * Rewrites the addresses in the nodes' nodes.conf files. Only while all nodes are stopped. A line
 * there begins with `<id> <ip>:<port>@<bus port>[,hostname] <flags> …`.
 */
export function rewriteAddresses(
  nodeDirs: readonly string[],
  newPorts: ReadonlyMap<number, number>
): void {
  for (const dir of nodeDirs) {
    const file = join(dir, 'nodes.conf')
    if (!existsSync(file)) continue
    const content = readFileSync(file, 'utf8').replace(
      /^(\w+ [^ ]*?):(\d+)@\d+/gm,
      (line, before: string, port: string) => {
        const newPort = newPorts.get(Number(port))
        return newPort === undefined ? line : `${before}:${newPort}@${newPort + 10_000}`
      }
    )
    writeFileSync(`${file}.new`, content)
    renameSync(`${file}.new`, file)
  }
}

function manifestFile(dataDir: string): string {
  return join(dataDir, 'cluster.json')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // the caller says what is wrong with it
  }
}

function isManifest(value: unknown): value is Manifest {
  return (
    typeof value === 'object' &&
    value !== null &&
    'isComplete' in value &&
    typeof value.isComplete === 'boolean' &&
    'nodes' in value &&
    Array.isArray(value.nodes) &&
    value.nodes.every(isManifestNode)
  )
}

function isManifestNode(value: unknown): value is ManifestNode {
  return (
    typeof value === 'object' &&
    value !== null &&
    'name' in value &&
    typeof value.name === 'string' &&
    /^node-\d+$/.test(value.name) &&
    'port' in value &&
    Number.isInteger(value.port) &&
    (!('data' in value) || isNodeData(value.data)) &&
    (!('isJoining' in value) || typeof value.isJoining === 'boolean')
  )
}

function isNodeData(value: unknown): value is NodeData {
  return (
    typeof value === 'object' &&
    value !== null &&
    'id' in value &&
    typeof value.id === 'string' &&
    'files' in value &&
    typeof value.files === 'object' &&
    value.files !== null &&
    Object.values(value.files).every(size => typeof size === 'number')
  )
}
