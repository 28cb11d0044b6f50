// Lua scripts by their digest. A script is sent as EVALSHA; a node that does not know it answers
// NOSCRIPT and is then sent the text.
import { createHash } from 'node:crypto'

export type Script = { readonly sha: string; readonly text: string }

const texts = new Map<string, string>()

/** Registers a script, so that its text can be found by its digest. */
export function script(text: string): Script {
  const sha = createHash('sha1').update(text).digest('hex')
  texts.set(sha, text)
  return { sha, text }
}

/** The text of a script by its SHA-1, for a node that answered NOSCRIPT. */
export function scriptText(sha: string | undefined): string {
  const text = texts.get(String(sha))
  if (text === undefined) throw new Error(`No script has the digest ${String(sha)}`)
  return text
}

/** The names of the commands that scripts call, once each. */
export const commandsOf = (scripts: readonly Script[]): string[] => [
  ...new Set(
    scripts.flatMap(({ text }) =>
      [...text.matchAll(/redis\.p?call\('(\w+)'/g)].map(([, name = '']) => name)
    )
  )
]
