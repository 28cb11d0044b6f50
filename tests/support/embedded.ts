// A Redis Cluster for one test file: in a temporary folder, gone with the test.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { EmbeddedCluster, type EmbeddedOptions } from '../../src/embedded/cluster.js'

// The nodes are detached: a test file that is told to end takes them along (EmbeddedCluster does so at exit).
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))

export async function startCluster (t: Test, options: Omit<EmbeddedOptions, 'dataDir'> = {}): Promise<EmbeddedCluster> {
  const dataDir = temporaryDir(t)
  const cluster = await EmbeddedCluster.start({ ...options, dataDir })
  t.teardown(() => cluster.stop())
  return cluster
}

/** An empty folder that is removed after the test, and after what was acquired later was let go. */
export function temporaryDir (t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'dialogs-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}
