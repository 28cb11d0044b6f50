// A key that two nodes have, when it is not known whose copy is right. This happens after the owner
// of a half-moved slot died: its replica knows nothing of the move, and accepts writes for keys
// that are already on the target. Blocks are merged (merge.ts). Of any other key the copy with less
// in it is dropped, and the output says so. None of this applies if this very run marked the slot
// before the first key went to the target, and the owner is still the same: clients then went to
// the owner first, so its copy is right.
import { messageOf } from '../../errors.js'
import { type Reply } from '../../redis/connection.js'
import { type Admin } from './admin.js'
import { type MapNode } from './map.js'

export type Fullness = { readonly of: number; readonly text: string }

/**
 * How much a key holds, as a number that can be compared between two copies; undefined if there is
 * no such key.
 */
export async function fullnessOf(
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
