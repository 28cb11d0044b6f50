// Replicas that are connected but silent. Since Valkey 8 a master asks all its replicas before it
// marks a slot, so a hanging replica blocks marking (NOREPLICAS) until it is considered gone, a
// minute later. Closing its connection lets the master continue; the replica reconnects and catches
// up by itself when it can.
import { type Admin } from './admin.js'
import { type MapNode, nodeText } from './map.js'

/** A replica reports its offset every second. */
const SILENT_S_MIN = 4

/**
 * Closes the connections of a master's silent replicas.
 * @returns a line for the operator about each one
 */
export async function dropStuckReplicas(admin: Admin, master: MapNode): Promise<string[]> {
  const info = String(await admin.ask(master, 'INFO', 'replication'))
  const replicas = [...info.matchAll(/^slave\d+:ip=([^,]+),port=(\d+),.*\blag=(\d+)/gm)].map(
    ([, ip = '', port = '', lag = '']) => ({ ip, port, isSilent: Number(lag) >= SILENT_S_MIN })
  )
  const silent = replicas.filter(({ isSilent }) => isSilent)
  const lines: string[] = []
  // CLIENT LIST tells where a replica has connected from, not where it listens. If several replicas
  // share an address, it is unknown which connection belongs to which.
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
