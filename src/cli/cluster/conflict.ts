// A key that two nodes have, while the owner's copy is not known to be the right one. So it is
// after the owner of a half-moved slot died: its replica knows nothing of the move, and takes
// writes for keys that are on the target already. Blocks are put together (merge.ts); of any other
// key one copy has to go: the one with less in it, and it is said which. Nothing here is needed
// while the owner itself marks the slot as migrating: then clients went to the owner first, and its
// copy holds.
import { messageOf } from '../../errors.js'
import { type Reply } from '../../redis/connection.js'
import { type Admin } from './admin.js'
import { type MapNode } from './map.js'

export type Fullness = { readonly of: number; readonly text: string }

/**
 * How much is in a key, in a number that may be compared between two copies; undefined when there
 * is no such key.
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
  // A key that left while this looked is answered with ASK.
  const type = String(
    await ask('TYPE', key).catch((error: unknown) =>
      /^(ASK|MOVED) /.test(messageOf(error)) ? 'none' : Promise.reject(error)
    )
  )
  if (type === 'none') return undefined
  if (type === 'stream') {
    // Field, value, field, value …; entries-added also counts what was trimmed away.
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
