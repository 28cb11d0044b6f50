// What rooms, users and texts may be called: every limit at, below and above its value, in scripts
// whose characters take more than one unit.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { DialogsError } from '../../src/errors.js'
import {
  checkIdempotencyKey,
  checkName,
  checkText,
  NAME_LENGTH_MAX
} from '../../src/message/names.js'
import { UNASSIGNED } from '../../src/message/unicode-15.js'
import { names } from '../support/names.js'

// One character (code point) each; '🙂' and '𒀀' take two UTF-16 units, 'ก' three bytes.
const characters = ['a', 'ü', 'ก', 'ع', '🙂', '𒀀', '漢', 'Ω', '-', '_'] as const

/** Control characters would garble the test's own report. */
const shown = (text: string): string =>
  JSON.stringify(text).replace(
    /[^ -~]/g,
    unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  )

function refusal(check: () => void): unknown {
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
      for (const length of [1, NAME_LENGTH_MAX - 1, NAME_LENGTH_MAX]) {
        t.equal(
          refusal(() => {
            checkName(what, character.repeat(length))
          }),
          undefined,
          `${length} × ${character}`
        )
      }
      for (const length of [NAME_LENGTH_MAX + 1, 1000]) {
        t.match(
          refusal(() => {
            checkName(what, character.repeat(length))
          }),
          { code: 'INVALID_NAME', message: 'more than 64 characters' },
          `${length} × ${character}`
        )
      }
    }
    t.match(
      refusal(() => {
        checkName(what, '')
      }),
      { code: 'INVALID_NAME', message: `The ${what} is empty` }
    )
  })
}

t.test('names in real languages are accepted', async t => {
  for (const name of [
    'lady_gaga',
    'Zoë',
    'ผู้ใช้งาน',
    'ภาษาไทย',
    'محمد',
    'مُحَمَّد',
    'שלום',
    'Ελλάδα',
    '日本語',
    '한국어',
    'हिन्दी',
    '👩‍👩‍👧‍👦',
    '🇹🇭',
    'a b',
    'O’Neil',
    'x.y',
    'room/1',
    'a:b',
    '0',
    '...',
    '.x',
    'a/.../b',
    '/a/',
    'a//b',
    '%2F',
    '%2e%2e',
    'a..',
    '..a/b',
    '%7B',
    '"',
    '\\'
  ]) {
    t.equal(
      refusal(() => {
        checkName('user', name)
      }),
      undefined,
      name
    )
  }
})

t.test('a name that is not in NFC is refused, and its NFC form is accepted', async t => {
  for (const name of ['Zoë', 'é', '한국', 'Å', 'ﬁ'.normalize('NFKC')]) {
    const decomposed = name.normalize('NFD')
    if (decomposed !== name) {
      t.match(
        refusal(() => {
          checkName('user', decomposed)
        }),
        { code: 'INVALID_NAME', message: 'NFC' },
        JSON.stringify(decomposed)
      )
    }
    t.equal(
      refusal(() => {
        checkName('user', decomposed.normalize('NFC'))
      }),
      undefined
    )
  }
  t.match(
    refusal(() => {
      checkName('user', '\u212B')
    }),
    { message: 'NFC' },
    'the Ångström sign is another spelling of Å'
  )
})

t.test('a name that would make a key ambiguous, or look like another name, is refused', async t => {
  const refused = {
    brace: ['{', '}', 'a{b', 'a}b', '{a.0}'],
    dots: ['.', '..', '../..', 'a/..', './a', 'a/./b', 'a/../b', '/..'],
    'single space': ['a\u00A0b', 'a\u3000b', 'a  b', 'a\u2009b'],
    'white space': [' a', 'a ', '\u00A0a', 'a\u3000', '\uFEFFa', ' '],
    control: [
      '\0',
      'a\nb',
      'a\tb',
      'a\u007Fb',
      'a\u0085b',
      'a\u2028b',
      'a\u2029b',
      '\uD800',
      'a\uDC00b',
      'a\uFFFEb',
      'a\uFFFF',
      '\uFDD0',
      'a\u{1FFFE}'
    ]
  }
  for (const [reason, list] of Object.entries(refused)) {
    for (const name of list) {
      t.match(
        refusal(() => {
          checkName('room', name)
        }),
        { code: 'INVALID_NAME', statusCode: 400, message: reason },
        shown(name)
      )
    }
  }
})

// Tries every code point, so that the result does not depend on chosen examples.
const codePoints = Array.from({ length: 0x110000 }, (_, code) => String.fromCodePoint(code))

t.test(
  'no code point that is invisible, unassigned, private or a noncharacter can turn a name into a second one that looks the same',
  async t => {
    const unfit = codePoints.filter(character =>
      /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\p{Noncharacter_Code_Point}\u2800\uFFFC]/u.test(
        character
      )
    )
    t.ok(unfit.length > 900_000, `${unfit.length} code points`)
    // Most are unassigned or private, in long ranges: the first of every 64 of those.
    const tried = unfit.filter(
      character =>
        !/[\p{Cn}\p{Co}]/u.test(character) ||
        /\p{Default_Ignorable_Code_Point}/u.test(character) ||
        (character.codePointAt(0) ?? 0) % 64 === 0
    )
    const accepted = tried.flatMap(character =>
      [`ann${character}`, `${character}ann`, `an${character}n`, character].filter(
        name =>
          refusal(() => {
            checkName('user', name)
          }) === undefined
      )
    )
    t.strictSame(accepted, ['an n'], 'but a single space between letters')
  }
)

t.test(
  'a name may contain the 149,186 characters of Unicode 15.0, whichever version this process knows',
  async t => {
    // https://www.unicode.org/versions/Unicode15.0.0/ counts those, 65 controls, 137,468 code
    // points for private use, and 2,048 surrogates.
    const assigned = codePoints.filter(character => !UNASSIGNED.test(character))
    t.equal(assigned.length, 149_186 + 65 + 137_468 + 2048)
    t.strictSame(
      assigned.filter(character => /\p{Cn}/u.test(character)),
      [],
      'all of them are known here'
    )
    for (const [version, character] of [
      ['15.1', '\u{2FFC}'],
      ['15.1', '\u{2EBF0}'],
      ['16.0', '\u{1C89}'],
      ['16.0', '\u{1FAE9}'],
      ['17.0', '\u{323B0}']
    ] as const) {
      t.match(
        refusal(() => {
          checkName('user', character)
        }),
        { message: 'Unicode 15.0' },
        `a character of Unicode ${version}`
      )
      t.equal(
        refusal(() => {
          checkText(character, 10)
        }),
        undefined,
        'it is accepted in a text'
      )
    }
    for (const character of ['\u{1FAE8}', '\u{31350}']) {
      t.equal(
        refusal(() => {
          checkName('user', character)
        }),
        undefined,
        'a character of Unicode 15.0'
      )
    }
  }
)

t.test('a joiner is allowed in a name only where it changes what is displayed', async t => {
  for (const name of [
    'می‌خواهم',
    'क्‍ष',
    'क्‌ष',
    'শ্রী',
    'র‍্য',
    'ශ්‍රී',
    'ന്‍റ',
    '👩‍👩‍👧‍👦',
    '👩‍❤️‍👩',
    '🏳️‍🌈',
    '🧔🏻‍♂️',
    '❤️',
    '1️⃣'
  ]) {
    t.equal(
      refusal(() => {
        checkName('user', name)
      }),
      undefined,
      shown(name)
    )
  }
  for (const name of [
    'a\u200Db',
    'a\u200Cb',
    'ann\u200D',
    '\u200Dann',
    '漢\u200D字',
    'ก\u200Cข',
    'م\u200C',
    '\u200Cم',
    'می\u200C\u200Cم',
    'म\u200Dम',
    '👩\u200D',
    '👩\u200Da',
    'a\u200D👩',
    '🙂\u200D☺',
    '👩\u200D👩',
    '👩\u200C👩',
    '👩\uFE0F',
    '1\uFE0F',
    'a\uFE0F',
    '❤\uFE0E',
    '\u{1F3F4}\u{E0067}\u{E007F}'
  ]) {
    t.match(
      refusal(() => {
        checkName('user', name)
      }),
      { code: 'INVALID_NAME', message: 'cannot be seen' },
      shown(name)
    )
  }
})

t.test('a dot on a letter that has one cannot be seen', async t => {
  for (const name of [
    'i\u0307',
    'pari\u0307s',
    'j\u0307',
    '\u0131\u0307',
    '\u0237\u0307',
    'і\u0307',
    '\u1ECB\u0307',
    'į\u0307',
    '𝐢\u0307'
  ]) {
    t.match(
      refusal(() => {
        checkName('user', name)
      }),
      { code: 'INVALID_NAME', message: 'dot above' },
      shown(name)
    )
  }
  for (const name of [
    '\u0130stanbul',
    'ısparta',
    'i\u0307\u0300',
    'i\u0307\u0301',
    'q\u0307',
    '\u0117',
    'ì',
    'ị'
  ]) {
    t.equal(
      refusal(() => {
        checkName('user', name)
      }),
      undefined,
      shown(name)
    )
  }
})

t.test('combining marks may not pile up or begin a name', async t => {
  for (const name of ['a\u0316\u0317\u0318\u0319', 'שּׁ\u05B0'.normalize('NFC'), 'ที่']) {
    t.equal(
      refusal(() => {
        checkName('user', name)
      }),
      undefined,
      shown(name)
    )
  }
  for (const name of ['a\u0316\u0317\u0318\u0319\u031C', 'a\u0316\u0316']) {
    t.match(
      refusal(() => {
        checkName('user', name)
      }),
      { message: 'combining marks' },
      shown(name)
    )
  }
  for (const name of ['\u0301', '\u0301a', '\u20DD']) {
    t.match(
      refusal(() => {
        checkName('user', name)
      }),
      { message: 'begins with a combining mark' },
      shown(name)
    )
  }
})

t.test('characters that change the writing direction are refused in a name', async t => {
  for (const character of ['\u061C', '\u200E', '\u200F', '\u202A', '\u202E', '\u2066', '\u2069']) {
    t.match(
      refusal(() => {
        checkName('user', `nna${character}x`)
      }),
      { message: 'direction' },
      shown(character)
    )
  }
})

t.test(
  'every string is either a name or refused with INVALID_NAME, and two names differ visibly',
  async () => {
    const twist = fc.constantFrom(
      '',
      ' ',
      '\u00A0',
      '\u200B',
      '\u200D',
      '\u200C',
      '\u00AD',
      '\u034F',
      '\u2060',
      '\uFEFF',
      '\uFE0F',
      '\u3164',
      '\u115F',
      '\u2800',
      '\u{E0061}',
      '\u202E',
      '\u180E'
    )
    const unit = fc.oneof(fc.constantFrom('a', 'b', 'é', 'ก', '한', '☺', '🙂', '.', '/'), twist)
    // What a person sees of a name, by a simple reading of the Unicode properties.
    const seen = (name: string): string =>
      name
        .normalize('NFC')
        .replace(/\p{Default_Ignorable_Code_Point}|[\u2800\uFFFC]/gu, '')
        .replace(/\p{Z}+/gu, ' ')
        .trim()
    const isName = (name: string): boolean => {
      const error = refusal(() => {
        checkName('user', name)
      })
      if (error !== undefined) {
        assert.ok(error instanceof DialogsError && error.code === 'INVALID_NAME')
      }
      return error === undefined
    }
    fc.assert(
      fc.property(
        fc.oneof(
          names,
          fc.string({ unit: 'binary', maxLength: 80 }),
          fc.string({ unit: 'binary-ascii', maxLength: 80 })
        ),
        name => {
          if (!isName(name)) return
          const length = [...name].length
          assert.ok(
            length >= 1 &&
              length <= 64 &&
              seen(name) !== '' &&
              name.normalize('NFC') === name &&
              !/[{}]|\p{C}(?<![\u200C\u200D])/u.test(name)
          )
        }
      ),
      { numRuns: 2000 }
    )
    fc.assert(
      fc.property(
        fc.array(unit, { maxLength: 6 }).map(units => units.join('')),
        name => {
          // The variation selector after a symbol is visible: it makes the symbol an emoji.
          if (isName(name) && !name.includes('☺\uFE0F')) assert.equal(seen(name), name)
        }
      ),
      { numRuns: 5000 }
    )
  }
)

t.test('a text has 1 to its maximum of characters, in any script', async t => {
  for (const character of characters) {
    for (const length of [1, 4095, 4096]) {
      t.equal(
        refusal(() => {
          checkText(character.repeat(length), 4096)
        }),
        undefined,
        `${length} × ${character}`
      )
    }
    t.match(
      refusal(() => {
        checkText(character.repeat(4097), 4096)
      }),
      { code: 'INVALID_TEXT', message: 'more than 4096' },
      `4097 × ${character}`
    )
  }
  t.equal(
    refusal(() => {
      checkText('a', 1)
    }),
    undefined
  )
  t.match(
    refusal(() => {
      checkText('ab', 1)
    }),
    { code: 'INVALID_TEXT' }
  )
})

t.test(
  'a text may have several lines and any normalization form, but no control characters, no broken Unicode, and not only white space',
  async t => {
    for (const text of [
      ' a ',
      '\u0301',
      '\u06DD',
      '\uE000',
      '\u202Ea',
      '.',
      'a\nb\r\n\tc',
      'e\u0301',
      '{}',
      '\u2028a',
      '"\\'
    ]) {
      t.equal(
        refusal(() => {
          checkText(text, 100)
        }),
        undefined,
        shown(text)
      )
    }
    for (const text of [
      '',
      ' ',
      '\n\t',
      '\u3000',
      'a\0',
      'a\u001B[31m',
      '\u007F',
      '\uD83D',
      'a\uDE42',
      'a\uFFFF',
      'a\uFDD0',
      '\u200B',
      '\u200D\u200D',
      '\u2060',
      '\u3164 \u115F',
      '\u2800',
      '\uFFFC',
      '\u202E',
      '\u00AD\uFEFF',
      '\uFE0F'
    ]) {
      t.match(
        refusal(() => {
          checkText(text, 100)
        }),
        { code: 'INVALID_TEXT', statusCode: 400 },
        shown(text)
      )
    }
  }
)

t.test('an idempotency key has 1 to 255 visible ASCII characters', async t => {
  for (const key of ['!', '~', 'a'.repeat(254), 'a'.repeat(255), '6f1b-42:{}']) {
    t.equal(
      refusal(() => {
        checkIdempotencyKey(key)
      }),
      undefined,
      key
    )
  }
  for (const key of ['', 'a'.repeat(256), 'a b', 'ü', 'a\n', '\t', '\u007F', '🙂']) {
    t.match(
      refusal(() => {
        checkIdempotencyKey(key)
      }),
      { code: 'INVALID_IDEMPOTENCY_KEY', statusCode: 400 },
      shown(key)
    )
  }
})
