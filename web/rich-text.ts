// Turns a text into nodes: links, `code` and ```fenced code```. Nothing that people wrote is ever
// read as HTML. Only http and https addresses become links, without the punctuation that ends a
// sentence, also where no space follows it, as in Chinese and Japanese.

// A fence includes the line breaks around it, because its block has lines of its own.
const PIECES =
  /\n?```(?:[a-z]+\n|\n)?([\s\S]+?)\n?```\n?|`([^`\n]+)`|(https?:\/\/[^\s<>"“”„«»、。，：；！？「」『』【】《》（）]+)/g
const SENTENCE_END = /[.,:;!?…'’"*)\]}]+$/

export function nodesOf(text: string): Node[] {
  // Most texts contain none of these.
  if (!text.includes('`') && !text.includes('://')) return [document.createTextNode(text)]
  const nodes: Node[] = []
  let end = 0
  const plainUntil = (index: number): void => {
    if (index > end) nodes.push(document.createTextNode(text.slice(end, index)))
    end = index
  }
  for (const match of text.matchAll(PIECES)) {
    const [whole, fenced, inline, address] = match
    plainUntil(match.index)
    if (address === undefined) {
      nodes.push(codeNode(fenced ?? inline ?? '', fenced !== undefined))
      end = match.index + whole.length
    } else {
      const trimmed = trimAddress(address)
      nodes.push(linkNode(trimmed))
      end = match.index + trimmed.length
    }
  }
  plainUntil(text.length)
  return nodes
}

/** A closing bracket stays if the address has its opening one. */
function trimAddress(address: string): string {
  const trimmed = address.replace(SENTENCE_END, '')
  return trimmed.includes('(') && address[trimmed.length] === ')' ? `${trimmed})` : trimmed
}

function linkNode(address: string): Node {
  if (!URL.canParse(address)) return document.createTextNode(address)
  const link = document.createElement('a')
  link.href = address
  link.textContent = address
  link.rel = 'noopener noreferrer'
  link.target = '_blank'
  return link
}

function codeNode(text: string, isBlock: boolean): Node {
  const code = document.createElement('code')
  code.textContent = text
  code.classList.toggle('block', isBlock)
  return code
}
