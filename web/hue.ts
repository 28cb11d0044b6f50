// A user's colour and initials: the same on every page, without asking anyone. The style sheet sets
// lightness and chroma, so every hue is readable on its background.

/** Most people can tell neighbouring hues apart. */
const HUES = 12

/** @returns degrees on the colour circle, one of twelve */
export function hueOf(user: string): number {
  // FNV-1a and a final mix, because its low bits alone differ little for short names.
  let hash = 0x811c9dc5
  for (const character of user) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (((hash ^ (hash >>> 16)) >>> 0) % HUES) * (360 / HUES)
}

/**
 * Two characters: the initials of two words, the first two letters of one, or the initial and the
 * last digit of a name that ends in a number, so that user1 and user-12 differ.
 */
export function lettersOf(user: string): string {
  const words = user.match(/[\p{L}\p{N}\p{Emoji_Presentation}]+/gu) ?? []
  const [first = '·', second] = words
  const characters = [...first]
  const [initial = ''] = characters
  const digit = /^\p{L}+\p{N}*(\p{N})$/u.exec(`${first}${second ?? ''}`)?.[1]
  const next = second === undefined ? characters[1] : [...second][0]
  return `${initial}${digit ?? next ?? ''}`.toLocaleUpperCase()
}
