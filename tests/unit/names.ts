// What rooms, users and texts may be called: every limit below, at and above it, in scripts whose characters take more than one unit.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { DialogsError } from '../../src/errors.js'
import { checkIdempotencyKey, checkName, checkText, NAME_LENGTH_MAX } from '../../src/message/names.js'
import { names } from '../support/names.js'

// One character (code point) each; '🙂' and '𒀀' take two UTF-16 units, 'ก' three bytes.
const characters = ['a', 'ü', 'ก', 'ع', '🙂', '𒀀', '漢', 'Ω', '-', '_'] as const

/** Control characters would break the test's own report. */
const shown = (text: string): string => JSON.stringify(text).replace(/[^ -~]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

function refusal (check: () => void): unknown {
  try {
    check()
    return undefined
  } catch (error) {
    return error
  }
}

for (const what of ['room', 'user'] as const) {
  t.test(`a ${what} has 1 to 64 characters, in any script`, async t => {
    for (const character of characters) {
      for (const length of [1, NAME_LENGTH_MAX - 1, NAME_LENGTH_MAX]) t.equal(refusal(() => { checkName(what, character.repeat(length)) }), undefined, `${length} × ${character}`)
      for (const length of [NAME_LENGTH_MAX + 1, 1000]) t.match(refusal(() => { checkName(what, character.repeat(length)) }), { code: 'INVALID_NAME', message: 'more than 64 characters' }, `${length} × ${character}`)
    }
    t.match(refusal(() => { checkName(what, '') }), { code: 'INVALID_NAME', message: `The ${what} is empty` })
  })
}

t.test('names of real languages are fine', async t => {
  for (const name of ['lady_gaga', 'Zoë', 'ผู้ใช้งาน', 'ภาษาไทย', 'محمد', 'مُحَمَّد', 'שלום', 'Ελλάδα', '日本語', '한국어', 'हिन्दी', '👩‍👩‍👧‍👦', '🇹🇭', 'a b', 'O’Neil', 'x.y', 'room/1', 'a:b', '0', '...', '.x', '%7B', '"', '\\']) {
    t.equal(refusal(() => { checkName('user', name) }), undefined, name)
  }
})

t.test('a name that is not in NFC is refused, and its NFC is fine', async t => {
  for (const name of ['Zoë', 'é', '한국', 'Å', 'ﬁ'.normalize('NFKC')]) {
    const decomposed = name.normalize('NFD')
    if (decomposed !== name) t.match(refusal(() => { checkName('user', decomposed) }), { code: 'INVALID_NAME', message: 'NFC' }, JSON.stringify(decomposed))
    t.equal(refusal(() => { checkName('user', decomposed.normalize('NFC')) }), undefined)
  }
  t.match(refusal(() => { checkName('user', '\u212B') }), { message: 'NFC' }, 'the Ångström sign is another spelling of Å')
})

t.test('what would make a key ambiguous or two names look alike is refused', async t => {
  const refused = {
    brace: ['{', '}', 'a{b', 'a}b', '{a.0}'],
    dots: ['.', '..'],
    'white space': [' a', 'a ', '\u00A0a', 'a\u3000', '\uFEFFa', ' '],
    control: ['\0', 'a\nb', 'a\tb', 'a\u007Fb', 'a\u0085b', 'a\u2028b', 'a\u2029b', '\uD800', 'a\uDC00b', 'a\uFFFEb', 'a\uFFFF']
  }
  for (const [reason, list] of Object.entries(refused)) {
    for (const name of list) t.match(refusal(() => { checkName('room', name) }), { code: 'INVALID_NAME', statusCode: 400, message: reason }, shown(name))
  }
})

t.test('every string is either a name or refused with INVALID_NAME, and a name is what it says', async () => {
  fc.assert(fc.property(fc.oneof(names, fc.string({ unit: 'binary', maxLength: 80 }), fc.string({ unit: 'binary-ascii', maxLength: 80 })), name => {
    const error = refusal(() => { checkName('user', name) })
    const length = [...name].length
    const isFit = length >= 1 && length <= 64 && !/^\.{1,2}$|[{}\p{Cs}\p{Cc}\p{Zl}\p{Zp}\uFFFE\uFFFF]/u.test(name) && name.trim() === name && name.normalize('NFC') === name
    if (isFit) assert.equal(error, undefined)
    else assert.ok(error instanceof DialogsError && error.code === 'INVALID_NAME')
  }), { numRuns: 2000 })
})

t.test('a text has 1 to its maximum of characters, in any script', async t => {
  for (const character of characters) {
    for (const length of [1, 4095, 4096]) t.equal(refusal(() => { checkText(character.repeat(length), 4096) }), undefined, `${length} × ${character}`)
    t.match(refusal(() => { checkText(character.repeat(4097), 4096) }), { code: 'INVALID_TEXT', message: 'more than 4096' }, `4097 × ${character}`)
  }
  t.equal(refusal(() => { checkText('a', 1) }), undefined)
  t.match(refusal(() => { checkText('ab', 1) }), { code: 'INVALID_TEXT' })
})

t.test('a text may have lines and any spelling, but no control characters, no broken Unicode, and not only white space', async t => {
  for (const text of [' a ', 'a\nb\r\n\tc', 'e\u0301', '{}', '\u2028a', '"\\']) t.equal(refusal(() => { checkText(text, 100) }), undefined, shown(text))
  for (const text of ['', ' ', '\n\t', '\u3000', 'a\0', 'a\u001B[31m', '\u007F', '\uD83D', 'a\uDE42']) t.match(refusal(() => { checkText(text, 100) }), { code: 'INVALID_TEXT', statusCode: 400 }, shown(text))
})

t.test('an idempotency key has 1 to 255 visible ASCII characters', async t => {
  for (const key of ['!', '~', 'a'.repeat(254), 'a'.repeat(255), '6f1b-42:{}']) t.equal(refusal(() => { checkIdempotencyKey(key) }), undefined, key)
  for (const key of ['', 'a'.repeat(256), 'a b', 'ü', 'a\n', '\t', '\u007F', '🙂']) t.match(refusal(() => { checkIdempotencyKey(key) }), { code: 'INVALID_IDEMPOTENCY_KEY', statusCode: 400 }, shown(key))
})
