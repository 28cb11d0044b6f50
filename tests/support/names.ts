// Room and user names for property tests: everything that src/message/names.ts accepts, often with
// characters that could confuse a parser.
import fc from 'fast-check'
import { checkName } from '../../src/message/names.js'

function isName(text: string): boolean {
  try {
    checkName('user', text)
    return true
  } catch {
    return false
  }
}

const pieces = fc.constantFrom(
  '.',
  ':',
  '/',
  '-',
  '0',
  '7',
  'room',
  'user',
  'once',
  'log',
  'users',
  'segment',
  'count',
  '.0',
  ':log',
  ' ',
  '@'
)

export const names: fc.Arbitrary<string> = fc
  .oneof(
    fc.string({
      unit: fc.oneof(pieces, fc.constantFrom('a', 'ü', 'ส', '🙂')),
      minLength: 1,
      maxLength: 8
    }),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }).map(text => text.normalize('NFC'))
  )
  .filter(isName)
