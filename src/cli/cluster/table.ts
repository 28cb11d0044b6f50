// Plain text tables and sizes, as the cluster command prints them. Pure.

/**
 * Columns as wide as their widest cell, two spaces apart. A `>` before a title aligns its column
 * right.
 */
export function table(titles: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const isRight = titles.map(title => title.startsWith('>'))
  const lines = [titles.map(title => title.replace(/^>/, '')), ...rows]
  const widths = titles.map((_, column) =>
    Math.max(...lines.map(line => (line[column] ?? '').length))
  )
  return lines
    .map(line =>
      widths
        .map((width, column) => {
          const cell = line[column] ?? ''
          return isRight[column] === true ? cell.padStart(width) : cell.padEnd(width)
        })
        .join('  ')
        .trimEnd()
    )
    .join('\n')
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** `512 bytes`, `3.2 MiB` */
export function bytesText(bytes: number): string {
  let size = bytes
  let unit = 0
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024
    unit++
  }
  return `${unit === 0 ? Math.round(size) : size.toFixed(1)} ${UNITS[unit]}`
}
