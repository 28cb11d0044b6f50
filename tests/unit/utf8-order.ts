// The order of names without encoding them, against the order of their bytes.
import fc from 'fast-check'
import t from 'tap'
import { byUtf8 } from '../../src/store/utf8-order.js'

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))

t.test('strings are in the order of their bytes in UTF-8', t => {
  // Units around the surrogates, where the orders by unit and by code point differ.
  const unit = fc.constantFrom(
    'a',
    'b',
    '\u007f',
    '\u0080',
    '\ud7ff',
    '\ue000',
    '\uffff',
    '😀',
    '𐀀'
  )
  const name = fc.oneof(
    fc.array(unit, { maxLength: 4 }).map(units => units.join('')),
    fc.string({ unit: 'binary', maxLength: 4 })
  )
  fc.assert(
    fc.property(name, name, (a, b) => {
      t.equal(Math.sign(byUtf8(a, b)), byBytes(a, b), JSON.stringify([a, b]))
    }),
    { numRuns: 2000 }
  )
  t.ok(byUtf8('😀', '\uffff') > 0 && '😀' < '\uffff', "where JavaScript's own order is another one")
  t.end()
})
