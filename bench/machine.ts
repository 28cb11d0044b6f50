// Describes the machine: figures mean nothing without it.
import { execFileSync } from 'node:child_process'
import os from 'node:os'

export type Machine = {
  readonly processor: string
  readonly processors: number
  readonly memoryGb: number
  readonly system: string
  readonly node: string
  readonly redis: string
  readonly nginx: string
  readonly commit: string
}

export function describeMachine(): Machine {
  const [cpu] = os.cpus()
  return {
    processor: cpu?.model.trim() ?? 'unknown',
    processors: os.availableParallelism(),
    memoryGb: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release().split('.', 2).join('.')}`,
    node: process.version,
    redis: /v=(\S+)/.exec(outputOf('redis-server', '--version'))?.[1] ?? 'not here',
    nginx: /nginx\/(\S+)/.exec(outputOf('nginx', '-v'))?.[1] ?? 'not here',
    commit: outputOf('git', 'rev-parse', '--short', 'HEAD').trim() || 'unknown'
  }
}

// Reads both streams, because nginx writes its version to stderr.
function outputOf(command: string, ...args: string[]): string {
  try {
    return execFileSync('sh', ['-c', '"$@" 2>&1', 'sh', command, ...args], {
      encoding: 'utf8',
      env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` }
    })
  } catch {
    return ''
  }
}
