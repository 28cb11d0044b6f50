// Holes of zeros in append-only files: all of them are found, and nothing else is mistaken for one.
import fc from 'fast-check'
import t from 'tap'
import { piecesOf } from '../../src/embedded/aof-holes.js'

const command = (...words: Buffer[]): Buffer =>
  Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.flatMap(word => [Buffer.from(`$${word.length}\r\n`), word, Buffer.from('\r\n')])
  ])
const set = command(Buffer.from('SET'), Buffer.from('a'), Buffer.from('\0\r\n\0*1\r\n\0'))
const note = Buffer.from('#TS:1700000000\r\n')

t.test('whatever the commands contain, the holes between them go, and nothing else', async t => {
  const word = fc.uint8Array({ maxLength: 30 }).map(bytes => Buffer.from(bytes))
  const part = fc.oneof(
    fc.array(word, { minLength: 1, maxLength: 4 }).map(words => command(...words)),
    fc.constant(note),
    fc.integer({ min: 1, max: 20 }).map(length => Buffer.alloc(length))
  )
  fc.assert(
    fc.property(fc.array(part), parts => {
      const found = Buffer.concat(piecesOf(Buffer.concat(parts)))
      const wanted = Buffer.concat(parts.filter(bytes => bytes[0] !== 0))
      return found.equals(wanted)
    })
  )
  t.pass()
})

t.test('an incomplete command at the end stays as it is', async t => {
  for (let length = 0; length <= set.length; length++) {
    const content = Buffer.concat([set, Buffer.alloc(3), set.subarray(0, length)])
    t.ok(
      Buffer.concat(piecesOf(content)).equals(Buffer.concat([set, set.subarray(0, length)])),
      `${length} bytes of it`
    )
  }
})

t.test('other damage is left alone', async t => {
  for (const bad of ['x', '*2\r\nx', '*1\r\n$1\r\nab']) {
    const content = Buffer.concat([set, Buffer.from(bad), Buffer.alloc(3), set])
    t.same(piecesOf(content), [content], bad)
  }
})
