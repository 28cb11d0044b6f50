// A colour of one's own for every user: the same on every page, without asking anyone. Lightness
// and chroma are the style sheet's, so that every hue is readable on its ground.

/** @returns degrees on the colour circle, 0 to 359 */
export function hueOf(user: string): number {
  // FNV-1a: short names that differ in one letter end far apart.
  let hash = 0x811c9dc5
  for (const character of user) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193)
  return (hash >>> 0) % 360
}
