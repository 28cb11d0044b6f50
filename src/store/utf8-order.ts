// The order in which Redis sorts names, computed without encoding them.

/**
 * Compares two strings by their bytes in UTF-8, which is the order of their code points. It differs
 * from the order of JavaScript's `<`, by UTF-16 units, where a surrogate meets a unit from U+E000
 * on: a surrogate is half of a code point beyond all of those.
 * @returns below 0 if `a` comes first, above 0 if `b` does, 0 if they are the same
 */
export function byUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    const left = a.charCodeAt(index)
    const right = b.charCodeAt(index)
    if (left !== right) return rankOf(left) - rankOf(right)
  }
  return a.length - b.length
}

const rankOf = (unit: number): number => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit)
