// A Redis Cluster for one test file, in a temporary folder that is removed after the test.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { EmbeddedCluster, type EmbeddedOptions } from '../../src/embedded/cluster.js'
import { connect } from '../../src/embedded/connection.js'
import { type EmbeddedNode } from '../../src/embedded/node.js'
import { until } from './until.js'

// The nodes are detached processes. A test file exits when it gets one of these signals, and
// EmbeddedCluster ends its nodes at exit. tap sends SIGALRM when a file has used up its time.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGALRM'] as const) {
  process.once(signal, () => process.exit(1))
}

export async function startCluster(
  t: Test,
  options: Omit<EmbeddedOptions, 'dataDir'> = {}
): Promise<EmbeddedCluster> {
  const dataDir = temporaryDir(t)
  const cluster = await EmbeddedCluster.start({ ...options, dataDir })
  t.teardown(() => cluster.stop())
  return cluster
}

/**
 * An empty folder. It is removed after the test, once everything that was acquired later has been
 * released.
 */
export function temporaryDir(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'dialogs-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/**
 * Waits until everything that was written is in the nodes' append-only files, where it survives
 * kill -9. With `appendfsync everysec` Redis delays writes by up to 2 s while the disk is slow to
 * sync.
 */
export async function untilInFile(nodes: readonly EmbeddedNode[]): Promise<void> {
  for (const { url, port } of nodes) {
    const client = await connect(url)
    try {
      await until(
        `what was written to ${port} is in its file`,
        async () =>
          String(await client.sendCommand(['INFO', 'persistence'])).includes(
            'aof_buffer_length:0\r'
          ),
        60_000
      )
    } finally {
      await client.disconnect()
    }
  }
}

/**
 * Everything that the nodes hold, keys and values, as one text: to search for what must be nowhere.
 * Includes replicas. Does not see what a script has half done, or a copy in progress.
 */
export async function everythingIn(cluster: Pick<EmbeddedCluster, 'nodes'>): Promise<string> {
  const found: unknown[] = []
  for (const { url } of cluster.nodes) {
    const client = await connect(url)
    const ask = async (...args: string[]): Promise<unknown> => await client.sendCommand(args)
    try {
      await ask('READONLY')
      // KEYS returns a list of names.
      for (const key of (await ask('KEYS', '*')) as readonly string[]) {
        const read: Readonly<Record<string, readonly string[]>> = {
          string: ['GET', key],
          hash: ['HGETALL', key],
          stream: ['XRANGE', key, '-', '+'],
          zset: ['ZRANGE', key, '0', '-1', 'WITHSCORES'],
          set: ['SMEMBERS', key],
          list: ['LRANGE', key, '0', '-1']
        }
        const command = read[String(await ask('TYPE', key))]
        found.push(key, command === undefined ? undefined : await ask(...command))
      }
    } finally {
      await client.disconnect()
    }
  }
  return JSON.stringify(found)
}
