// Replicas that are connected and say nothing. From Valkey 8 on, a master asks all its replicas
// before it marks a slot, so that one that hangs forbids it (NOREPLICAS) until it is taken for
// gone, a minute later. Closing its connection lets the master go on; the replica connects again
// and catches up by itself when it can.
import { type Admin } from './admin.js'
import { type MapNode, nodeText } from './map.js'

/** A replica says every second how far it is. */
const SILENT_S_MIN = 4

/**
 * Closes the connections of a master's silent replicas. @returns a line for each, for the one who
 * runs the cluster
 */
export async function dropStuckReplicas(admin: Admin, master: MapNode): Promise<string[]> {
  const info = String(await admin.ask(master, 'INFO', 'replication'))
  const replicas = [...info.matchAll(/^slave\d+:ip=([^,]+),port=(\d+),.*\blag=(\d+)/gm)].map(
    ([, ip = '', port = '', lag = '']) => ({ ip, port, isSilent: Number(lag) >= SILENT_S_MIN })
  )
  const silent = replicas.filter(({ isSilent }) => isSilent)
  const lines: string[] = []
  // CLIENT LIST tells from where a replica has connected, not where it listens: of several at one
  // address it is not known which is which.
  const clients = String(await admin.ask(master, 'CLIENT', 'LIST', 'TYPE', 'replica'))
  for (const { ip, port } of silent) {
    if (replicas.some(other => other.ip === ip && !other.isSilent)) continue
    for (const [, id = '', host] of clients.matchAll(/^id=(\d+) addr=(\S+):\d+ /gm)) {
      if (host === ip) await admin.ask(master, 'CLIENT', 'KILL', 'ID', id)
    }
    lines.push(
      `Replica ${ip}:${port} of ${nodeText(master)} has said nothing for ${SILENT_S_MIN} s: its connection was closed, so that slots can be marked`
    )
  }
  return lines
}
