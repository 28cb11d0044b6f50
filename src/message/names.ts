// What a room, a user and a text may contain. Names become parts of Redis keys, and people tell
// each other apart by them. So a name is refused if it cannot be seen, looks exactly like another
// name, or would make a key ambiguous. The rules follow Unicode properties, frozen at Unicode 15.0
// (unicode-15.ts). Names that look alike in different scripts (Latin and Cyrillic "a") are both
// accepted.
import { DialogsError } from '../errors.js'
import { UNASSIGNED } from './unicode-15.js'

export const NAME_LENGTH_MAX = 64

const PLAIN = /^[A-Za-z0-9_.:@-]{1,64}$/
// Proxies resolve such a segment even if the slashes around it are percent-encoded.
const DOT_SEGMENT = /(?:^|\/)\.{1,2}(?:\/|$)/

// Control characters, line and paragraph separators, lone surrogates, and noncharacters.
const BROKEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\p{Noncharacter_Code_Point}]/u
const BROKEN_IN_TEXT = /[^\P{Cc}\t\n\r]|[\p{Cs}\p{Noncharacter_Code_Point}]/u
// Format characters and everything else that is not displayed. The last four display nothing
// although no property says so: interlinear annotations, the object replacement character, the
// blank Braille pattern and the null notehead.
const INVISIBLE = /[\p{Default_Ignorable_Code_Point}\p{Cf}\uFFF9-\uFFFB\uFFFC\u2800\u{1D159}]/u
// Arabic number signs are format characters but visible, so a text may consist of one.
const SHOWN = /[^\p{Z}\p{Cc}\p{Default_Ignorable_Code_Point}\uFFF9-\uFFFB\uFFFC\u2800\u{1D159}]/u

// Places where an invisible character changes what is displayed (after UAX 31, "Layout and Format
// Control Characters"): a joiner between two letters of a cursive script,
const CURSIVE =
  '[\\p{scx=Arab}\\p{scx=Syrc}\\p{scx=Mong}\\p{scx=Nkoo}\\p{scx=Adlm}\\p{scx=Mand}\\p{scx=Rohg}]'
// a joiner next to a vowel sign or virama of an Indic script,
const INDIC =
  '[\\p{scx=Deva}\\p{scx=Beng}\\p{scx=Guru}\\p{scx=Gujr}\\p{scx=Orya}\\p{scx=Taml}\\p{scx=Telu}\\p{scx=Knda}\\p{scx=Mlym}\\p{scx=Sinh}' +
  '\\p{scx=Khmr}\\p{scx=Mymr}\\p{scx=Tibt}\\p{scx=Java}\\p{scx=Bali}\\p{scx=Sund}\\p{scx=Newa}]'
// the selector that turns a symbol into an emoji.
const LETTER = '(?=[\\p{L}\\p{M}])'
const EFFECTIVE = new RegExp(
  [
    `(?<=${CURSIVE})(?<=[\\p{L}\\p{M}])[\\u200C\\u200D](?=${CURSIVE})${LETTER}`,
    `(?<=${INDIC})(?<=\\p{M})[\\u200C\\u200D](?=${INDIC})${LETTER}`,
    `(?<=${INDIC})(?<=\\p{L})[\\u200C\\u200D](?=${INDIC})(?=\\p{M})`,
    '(?<=\\p{Emoji})(?<![\\p{Emoji_Presentation}0-9#*])\\uFE0F',
    '(?<=[0-9#*])\\uFE0F(?=\\u20E3)'
  ].join('|'),
  'gu'
)

// Joined emoji that form one picture. Between any other two emoji a joiner is invisible: "🙂☺" looks
// the same with and without one.
const ONE_PICTURE = '\\p{RGI_Emoji_ZWJ_Sequence}'
const JOINED_EMOJI = new RegExp(ONE_PICTURE, 'gv')

// After UTS 39, section 5.4, on combining marks.
const MARKS_MAX = 4
const TOO_MANY_MARKS = new RegExp(`[\\p{Mn}\\p{Me}]{${MARKS_MAX + 1}}|([\\p{Mn}\\p{Me}])\\1`, 'u')

// A dot on a letter that has one, or that is the same letter without one: both look like the letter
// alone. Marks below do not change that (NFC puts them first). Before another mark above, as in
// Lithuanian, the dot is seen.
const DOT_ON_DOT = /[\p{Soft_Dotted}\u0131\u0237][\u0316-\u0333\u0339-\u033C]*\u0307(?!\p{M})/u

/**
 * Checks the name of a room or a user. A name has 1 to 64 characters (code points) that Unicode
 * 15.0 assigns, in NFC. It has no `{` or `}`, no white space except single spaces between other
 * characters, and no character that is invisible, changes the writing direction, or is a
 * noncharacter. A joiner (U+200C, U+200D) is allowed where it changes what is displayed. A name
 * does not begin with a combining mark, has no dot above an i or j, and none of its parts between
 * slashes is `.` or `..`.
 * @throws DialogsError INVALID_NAME with what to change
 */
export function checkName(what: 'room' | 'user', name: string): void {
  if (PLAIN.test(name) && !DOT_SEGMENT.test(name)) return
  const fault = nameFault(name)
  if (fault !== undefined) throw new DialogsError('INVALID_NAME', `The ${what} ${fault}.`)
}

function nameFault(name: string): string | undefined {
  if (name.length === 0) return 'is empty: give it 1 to 64 characters'
  // A code point has at most two UTF-16 units. Testing the length first avoids counting the code
  // points of a hostile megabyte.
  if (name.length > 2 * NAME_LENGTH_MAX || [...name].length > NAME_LENGTH_MAX) {
    return `has more than ${NAME_LENGTH_MAX} characters: shorten it`
  }
  if (BROKEN.test(name)) return 'has control characters, line breaks or broken Unicode: remove them'
  if (/\p{Bidi_Control}/u.test(name)) {
    return 'has a character that turns the direction of writing: remove it'
  }
  if (/[{}]/.test(name)) return 'has a brace: use other characters than { and }'
  if (DOT_SEGMENT.test(name)) {
    return 'is only dots, or only dots between slashes, which no URL can hold: use other characters'
  }
  if (name.trim() !== name) return 'has white space at its start or end: remove it'
  if (/(?! )\p{Zs}| {2}/u.test(name)) {
    return 'has white space that cannot be told from a single space: use single spaces (U+0020)'
  }
  if (INVISIBLE.test(name.replace(JOINED_EMOJI, '🙂').replace(EFFECTIVE, ''))) {
    return 'has a character that cannot be seen, such as a zero width space: remove it'
  }
  if (UNASSIGNED.test(name) || /\p{Co}/u.test(name)) {
    return 'has a character that is for private use or not in Unicode 15.0: use another one'
  }
  if (name.normalize('NFC') !== name) {
    return 'is not in Unicode normalization form NFC: normalize it'
  }
  if (/^\p{M}/u.test(name)) return 'begins with a combining mark: put a letter before it'
  if (DOT_ON_DOT.test(name)) {
    return 'has a dot above (U+0307) on an i or j, which cannot be told from the letter alone: remove it'
  }
  if (TOO_MANY_MARKS.test(name)) {
    return `has more than ${MARKS_MAX} combining marks on one letter, or the same one twice: remove some`
  }
  return undefined
}

/**
 * Checks a message's text: 1 to `max` characters (code points), at least one of them visible, no
 * control characters except tab and line breaks, no noncharacters. Everything else is left to the
 * program that displays it: direction marks, joiners, unassigned characters.
 * @throws DialogsError INVALID_TEXT with what to change
 */
export function checkText(text: string, max: number): void {
  if (text.length > max && [...text].length > max) {
    throw new DialogsError('INVALID_TEXT', `The text has more than ${max} characters: shorten it.`)
  }
  if (!SHOWN.test(text)) {
    throw new DialogsError(
      'INVALID_TEXT',
      'The text is empty or shows nothing but white space: write something.'
    )
  }
  if (BROKEN_IN_TEXT.test(text)) {
    throw new DialogsError(
      'INVALID_TEXT',
      'The text has control characters or broken Unicode: remove them (tabs and line breaks are fine).'
    )
  }
}

/**
 * Checks an Idempotency-Key: 1 to 255 visible ASCII characters.
 * @throws DialogsError INVALID_IDEMPOTENCY_KEY
 */
export function checkIdempotencyKey(key: string): void {
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new DialogsError(
      'INVALID_IDEMPOTENCY_KEY',
      'The Idempotency-Key must be 1 to 255 visible ASCII characters without spaces, for example a UUID.'
    )
  }
}
