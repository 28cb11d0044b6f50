// A plot over time as SVG: panels one below the other with a common time axis, marks for the steps,
// and a shaded span while they ran. Knows nothing about drills.

export type Series = {
  readonly name: string
  readonly color: string
  readonly points: ReadonlyArray<readonly [x: number, y: number]>
}
export type Panel = { readonly label: string; readonly series: readonly Series[] }
export type Plot = {
  readonly title: string
  readonly seconds: number
  readonly panels: readonly Panel[]
  readonly marks: ReadonlyArray<{ readonly atS: number; readonly text: string }>
  readonly span: { readonly fromS: number; readonly toS: number } | undefined
}

const WIDTH = 960
const LEFT = 70
const RIGHT = 20
const TOP = 50
const PANEL = 120
const GAP = 34
const LINE = 14

export function plotSvg({ title, seconds, panels, marks, span }: Plot): string {
  const x = (second: number): number => LEFT + (second / seconds) * (WIDTH - LEFT - RIGHT)
  const top = (panel: number): number => TOP + panel * (PANEL + GAP)
  const bottom = top(panels.length) - GAP
  const height = bottom + 40 + marks.length * LINE
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11" fill="#333">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(LEFT, 20, title, 'font-size="15" font-weight="bold"')
  ]
  if (span !== undefined) {
    parts.push(
      `<rect x="${fixed(x(span.fromS))}" y="${TOP}" width="${fixed(x(span.toS) - x(span.fromS))}" height="${bottom - TOP}" fill="#f2f4f8"/>`
    )
  }
  for (const [index, panel] of panels.entries()) parts.push(...panelParts(panel, top(index), x))
  for (const [index, { atS }] of marks.entries()) {
    parts.push(
      `<line x1="${fixed(x(atS))}" y1="${TOP}" x2="${fixed(x(atS))}" y2="${bottom}" stroke="#b33" stroke-dasharray="3 3" stroke-opacity="0.7"/>`,
      text(x(atS) + 2, TOP - 4 - (index % 2) * 11, String(index + 1), 'fill="#b33"')
    )
  }
  const step = niceStep(seconds / 10)
  for (let second = 0; second <= seconds; second += step) {
    parts.push(text(x(second), bottom + 14, `${second} s`, 'text-anchor="middle" fill="#666"'))
  }
  for (const [index, { atS, text: what }] of marks.entries()) {
    parts.push(text(LEFT, bottom + 36 + index * LINE, `${index + 1}  ${atS.toFixed(1)} s  ${what}`))
  }
  return [...parts, '</svg>', ''].join('\n')
}

function panelParts(
  { label, series }: Panel,
  top: number,
  x: (second: number) => number
): string[] {
  const highest = Math.max(0, ...series.flatMap(({ points }) => points.map(([, y]) => y)))
  const step = niceStep(highest / 4)
  const max = Math.max(step, Math.ceil(highest / step) * step)
  const y = (value: number): number => top + PANEL - (value / max) * PANEL
  const parts = [text(LEFT, top - 5, label, 'font-weight="bold"')]
  for (let value = 0; value <= max; value += step) {
    parts.push(
      `<line x1="${LEFT}" y1="${fixed(y(value))}" x2="${WIDTH - RIGHT}" y2="${fixed(y(value))}" stroke="#ddd"/>`,
      text(LEFT - 6, y(value) + 4, value.toLocaleString('en-US'), 'text-anchor="end" fill="#666"')
    )
  }
  let legendX = WIDTH - RIGHT
  for (const { name, color, points } of series) {
    const line = points.map(([second, value]) => `${fixed(x(second))},${fixed(y(value))}`).join(' ')
    parts.push(`<polyline points="${line}" fill="none" stroke="${color}" stroke-width="1.5"/>`)
    if (series.length > 1) {
      parts.push(text(legendX, top - 5, name, `text-anchor="end" fill="${color}"`))
      legendX -= 80
    }
  }
  return parts
}

const text = (x: number, y: number, what: string, attributes = ''): string =>
  `<text x="${fixed(x)}" y="${fixed(y)}" ${attributes}>${what.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</text>`

const fixed = (value: number): string => value.toFixed(1)

/** The least of 1, 2 or 5 times a power of ten that is not below the value. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-6)))
  return [1, 2, 5, 10].map(factor => factor * power).find(step => step >= least) ?? 10 * power
}
