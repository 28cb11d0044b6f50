// A key that two nodes have, when it is not known whose copy is right. This happens after the owner
// of a half-moved slot died: its replica knows nothing of the move, and accepts writes for keys
// that are already on the target. Blocks are merged (merge.ts). Of any other key the copy with less
// in it is dropped, and the output says so. None of this applies if this very run marked the slot
// before the first key went to the target, and the owner is still the same: clients then went to
// the owner first, so its copy is right.
import { messageOf } from '../../errors.js'
import { type Reply } from '../../redis/connection.js'
import { type Admin } from './admin.js'
import { type MapNode, nodeText } from './map.js'
import { isBlock, isChanged, mergeBlock, mergeChanged } from './merge.js'

/**
 * Settles what becomes of one key. The source's copy goes to the target only after that, and only
 * if it must.
 * @param replicated resolves when a replica of the target has the key
 * @returns whether the source's copy must be sent, and a line for the operator if both had the key
 */
export async function settleConflict(
  admin: Admin,
  source: MapNode,
  target: MapNode,
  key: string,
  replicated: () => Promise<void>
): Promise<{ readonly mustSend: boolean; readonly line?: string }> {
  const here = await fullnessOf(admin, source, key, false)
  const there = await fullnessOf(admin, target, key, true)
  if (here === undefined) return { mustSend: false }
  if (there === undefined) return { mustSend: true }
  const both = `Both ${nodeText(source)} and ${nodeText(target)} had ${key}`
  if (isBlock(key)) {
    const added = await mergeBlock(admin, source, target, key, replicated)
    const line = `${both}: kept all messages, ${added} of which only the second had`
    return { mustSend: false, line }
  }
  if (isChanged(key)) {
    const changed = await mergeChanged(admin, source, target, key, replicated)
    return { mustSend: false, line: `${both}: kept the later of each of ${changed} changes` }
  }
  if (there.of > here.of) {
    await admin.ask(source, 'DEL', key)
    return { mustSend: false, line: `${both}: kept ${there.text}, dropped ${here.text}` }
  }
  return { mustSend: true, line: `${both}: kept ${here.text}, dropped ${there.text}` }
}

type Fullness = { readonly of: number; readonly text: string }

/**
 * How much a key holds, as a number that can be compared between two copies; undefined if there is
 * no such key.
 */
async function fullnessOf(
  admin: Admin,
  node: MapNode,
  key: string,
  isAsking: boolean
): Promise<Fullness | undefined> {
  const ask = async (...words: string[]): Promise<Reply> => {
    const replies = await admin.askAll(node, isAsking ? [['ASKING'], words] : [words])
    return replies.at(-1) ?? null
  }
  // If the key left during the look, the answer is ASK.
  const type = String(
    await ask('TYPE', key).catch((error: unknown) =>
      /^(ASK|MOVED) /.test(messageOf(error)) ? 'none' : Promise.reject(error)
    )
  )
  if (type === 'none') return undefined
  if (type === 'stream') {
    // Field, value, field, value …; entries-added also counts trimmed entries.
    const fields = (await ask('XINFO', 'STREAM', key)) as readonly Reply[]
    const added = Number(fields[fields.indexOf('entries-added') + 1])
    return { of: added, text: `a stream of ${added} entries` }
  }
  if (type === 'string') {
    const value = String(await ask('GET', key))
    if (/^\d{1,15}$/.test(value)) return { of: Number(value), text: `the number ${value}` }
    return { of: value.length, text: `a string of ${value.length} characters` }
  }
  const bytes = Number(await ask('MEMORY', 'USAGE', key))
  return { of: bytes, text: `a ${type} of ${bytes} bytes` }
}
