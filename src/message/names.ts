// What a room, a user and a text may be. Names become parts of Redis keys, so what is refused here is what would make a key
// ambiguous (braces) or two names look alike (not NFC, white space at the ends, control characters).
import { DialogsError } from '../errors.js'

export const NAME_LENGTH_MAX = 64

// Control characters, line and paragraph separators, lone surrogates, and characters that are not assigned for interchange.
const UNFIT = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u{FFFE}\u{FFFF}]/u
const UNFIT_IN_TEXT = /[^\P{Cc}\t\n\r]|\p{Cs}/u
const ONLY_DOTS = /^\.{1,2}$/
const PLAIN = /^[A-Za-z0-9_.:@-]{1,64}$/

/**
 * Checks a room or user name: 1 to 64 characters (code points) of any language in NFC, no control characters,
 * no `{` or `}`, no white space at either end.
 * @throws DialogsError INVALID_NAME with what to change
 */
export function checkName (what: 'room' | 'user', name: string): void {
  if (PLAIN.test(name) && !ONLY_DOTS.test(name)) return
  const fault = nameFault(name)
  if (fault !== undefined) throw new DialogsError('INVALID_NAME', `The ${what} ${fault}.`)
}

function nameFault (name: string): string | undefined {
  if (name.length === 0) return 'is empty: give it 1 to 64 characters'
  // A code point is at most two UTF-16 units: the first test spares the count of a hostile megabyte.
  if (name.length > 2 * NAME_LENGTH_MAX || [...name].length > NAME_LENGTH_MAX) return `has more than ${NAME_LENGTH_MAX} characters: shorten it`
  if (UNFIT.test(name)) return 'has control characters, line breaks or broken Unicode: remove them'
  if (/[{}]/.test(name)) return 'has a brace: use other characters than { and }'
  if (ONLY_DOTS.test(name)) return 'is only dots, which no URL can hold: use other characters'
  if (name.trim() !== name) return 'has white space at its start or end: remove it'
  if (name.normalize('NFC') !== name) return 'is not in Unicode normalization form NFC: normalize it'
  return undefined
}

/**
 * Checks a message's text: 1 to `max` characters (code points), at least one that is not white space,
 * no control characters but tab and line breaks, no broken Unicode.
 * @throws DialogsError INVALID_TEXT with what to change
 */
export function checkText (text: string, max: number): void {
  if (text.length > max && [...text].length > max) throw new DialogsError('INVALID_TEXT', `The text has more than ${max} characters: shorten it.`)
  if (text.trim().length === 0) throw new DialogsError('INVALID_TEXT', 'The text is empty or only white space: write something.')
  if (UNFIT_IN_TEXT.test(text)) throw new DialogsError('INVALID_TEXT', 'The text has control characters or broken Unicode: remove them (tabs and line breaks are fine).')
}

/**
 * Checks an Idempotency-Key: 1 to 255 visible ASCII characters.
 * @throws DialogsError INVALID_IDEMPOTENCY_KEY
 */
export function checkIdempotencyKey (key: string): void {
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new DialogsError('INVALID_IDEMPOTENCY_KEY', 'The Idempotency-Key must be 1 to 255 visible ASCII characters without spaces, for example a UUID.')
  }
}
