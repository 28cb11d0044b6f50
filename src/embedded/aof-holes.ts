// Removes holes from append-only files. If the disk fills up while Redis writes a command, Redis
// cuts off the part that was written, but continues writing at the place after it. The file then
// has a hole of zeros before the same command, which is written again, and Redis refuses to load it
// (seen on 7.0.15, with a file that a rewrite had started, which is not opened for appending).
// Zeros never occur between commands otherwise, so removing them loses nothing.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { AOF_FOLDER, dataIn } from './node-data.js'

const ZERO = 0
const [COMMAND, LENGTH, NOTE] = [...Buffer.from('*$#')]

/**
 * Removes holes from the files of a stopped node, and keeps a copy of each file as it was.
 * Returns a line of text for each file that had holes.
 */
export function closeHoles(dir: string): string[] {
  return Object.keys(dataIn(dir)?.files ?? {}).flatMap(name => {
    if (!name.endsWith('.incr.aof')) return []
    const file = join(dir, AOF_FOLDER, name)
    const content = readFileSync(file)
    const pieces = piecesOf(content)
    if (pieces.length < 2) return []
    copyFileSync(file, join(dir, `${name}.with-holes`))
    writeFileSync(file, Buffer.concat(pieces))
    return [
      `Removed ${pieces.length - 1} holes from ${name} of ${basename(dir)}, left there by a full disk; the file as it was is kept as ${name}.with-holes`
    ]
  })
}

/**
 * The pieces between the holes. A single piece means that there are no holes, or that something
 * else is wrong.
 */
export function piecesOf(content: Buffer): Buffer[] {
  const pieces: Buffer[] = []
  let begin = 0
  for (let at = 0; at < content.length;) {
    if (content[at] === ZERO) {
      pieces.push(content.subarray(begin, at))
      while (content[at] === ZERO) at++
      begin = at
      continue
    }
    const end = endOfCommand(content, at)
    if (end === undefined) return [content]
    at = end
  }
  return [...pieces, content.subarray(begin)]
}

// The file uses Redis' protocol, with annotations (`#TS:…`) between the commands. An incomplete
// command at the end is left as it is.
// https://redis.io/docs/latest/develop/reference/protocol-spec/
function endOfCommand(content: Buffer, at: number): number | undefined {
  const head = lineAt(content, at)
  if (content[at] === NOTE) return head.end
  if (content[at] !== COMMAND) return undefined
  let end = head.end
  for (let word = 0; word < head.number && end < content.length; word++) {
    if (content[end] !== LENGTH) return undefined
    const length = lineAt(content, end)
    end = length.end + length.number + 2
    if (end <= content.length && content.toString('latin1', end - 2, end) !== '\r\n') {
      return undefined
    }
  }
  return Math.min(end, content.length)
}

function lineAt(content: Buffer, at: number): { number: number; end: number } {
  const newline = content.indexOf('\n', at)
  const end = newline < 0 ? content.length : newline + 1
  return { number: Number.parseInt(content.toString('latin1', at + 1, end), 10) || 0, end }
}
