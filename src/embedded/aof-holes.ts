// Takes holes out of append-only files. When the disk is full Redis cuts a command that it has
// written in part off again, but goes on writing where the rest would have been: the file then has
// a hole of zeros in front of that same command, and Redis does not load it any more (seen on
// 7.0.15, with a file that a rewrite had begun: it is not opened for appending). Zeros never stand
// between commands otherwise, so nothing is lost by removing them.

import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { AOF_FOLDER, dataIn } from './node-data.js'

const ZERO = 0
const [COMMAND, LENGTH, NOTE] = [...Buffer.from('*$#')]

/**
 * Removes holes from the files of a stopped node, and keeps each file as it was beside the others.
 * Answers a line for each that had some.
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
      `Took ${pieces.length - 1} holes out of ${name} of ${basename(dir)}, which a full disk had left; it was kept as ${name}.with-holes`
    ]
  })
}

/** What is between the holes; one piece when there are none, or when something else is wrong. */
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

// The form of the file is that of the protocol, with notes (`#TS:…`) in between. One that is torn
// off at the end ends there. https://redis.io/docs/latest/develop/reference/protocol-spec/
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
