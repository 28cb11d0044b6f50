// Formats prose for generated Markdown, in lines of at most 100 columns like all other documents.
const COLUMNS = 100

/** Breaks a paragraph between words. A word that is too long gets a line of its own. */
export function paragraph(text: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line !== '' && longer.length > COLUMNS) {
      lines.push(line)
      line = word
    } else line = longer
  }
  return [...lines, line].join('\n')
}
