// The tag of a block, `<user>.<block>`: part of every reference to a message, and of the block's
// key. In a room that was deleted, `:<generation>` follows, because what is written after a
// deletion must not share a key with what was written before it.

/** What a tag says. `generation` is 0 in a room that was never deleted. */
export type BlockId = {
  readonly user: string
  readonly block: number
  readonly generation: number
}

export const formatTag = ({ user, block, generation }: BlockId): string =>
  generation === 0 ? `${user}.${block}` : `${user}.${block}:${generation}`

/** The inverse of formatTag; undefined for anything else. */
export function parseTag(tag: string): BlockId | undefined {
  const [, user, block, generation = 0] = TAG.exec(tag) ?? []
  return user === undefined
    ? undefined
    : { user, block: Number(block), generation: Number(generation) }
}

const TAG = /^(.+)\.(0|[1-9]\d{0,14})(?::([1-9]\d{0,14}))?$/s

/**
 * `lady_gaga.12` → `['lady_gaga', 12]`: the number comes after the last dot, because the name may
 * have dots too.
 */
export function splitNumber(tag: string): [name: string, number: number] | undefined {
  const dot = tag.lastIndexOf('.')
  if (dot < 1) return undefined
  const digits = tag.slice(dot + 1)
  if (!/^(0|[1-9]\d{0,14})$/.test(digits)) return undefined
  return [tag.slice(0, dot), Number(digits)]
}
