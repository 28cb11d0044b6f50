// Redis' wire protocol: what is decoded does not depend on where the bytes were cut, and bytes of
// another protocol are refused at once.
import fc from 'fast-check'
import { ErrorReply } from 'redis'
import t from 'tap'
import { encodeCommand, ReplyDecoder, type RawReply } from '../../src/redis/resp.js'

const encode = (reply: RawReply): string => {
  if (reply === null) return '$-1\r\n'
  if (typeof reply === 'number') return `:${reply}\r\n`
  if (reply instanceof ErrorReply) return `-${reply.message}\r\n`
  if (Buffer.isBuffer(reply)) return `$${reply.length}\r\n${reply.toString('latin1')}\r\n`
  return `*${reply.length}\r\n${reply.map(encode).join('')}`
}

// Errors are replaced by their messages, which can be compared.
const plain = (reply: RawReply): unknown => {
  if (reply instanceof ErrorReply) return { error: reply.message }
  if (Buffer.isBuffer(reply)) return reply.toString('latin1')
  return typeof reply === 'number' || reply === null ? reply : reply.map(plain)
}

const { reply: anyReply } = fc.letrec<{ reply: RawReply }>(tie => ({
  reply: fc.oneof(
    { depthSize: 'small', maxDepth: 5 },
    fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
    fc.integer(),
    fc.constant(null),
    fc.stringMatching(/^[A-Z]{1,9} [a-z ]{0,20}$/).map(message => new ErrorReply(message)),
    fc.array(tie('reply'), { maxLength: 5 })
  )
}))

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')

t.test('replies come out in order, wherever the bytes are cut', async t => {
  fc.assert(
    fc.property(
      fc.array(anyReply, { maxLength: 10 }),
      fc.array(fc.nat(), { maxLength: 20 }),
      (replies, cuts) => {
        const all = bytes(replies.map(encode).join(''))
        const decoder = new ReplyDecoder()
        const ends = [...cuts.map(cut => cut % (all.length + 1)), all.length].sort((a, b) => a - b)
        const decoded = ends.flatMap((end, index) =>
          decoder.take(all.subarray(ends[index - 1] ?? 0, end))
        )
        t.strictSame(decoded.map(plain), replies.map(plain))
      }
    ),
    { numRuns: 300 }
  )
})

t.test('a byte at a time', async t => {
  const decoder = new ReplyDecoder()
  const replies = [
    ...bytes('+OK\r\n*3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$4\r\n\r\n\r\n\r\n*-1\r\n')
  ].flatMap(byte => decoder.take(Buffer.from([byte])))
  t.strictSame(replies.map(plain), ['OK', ['smessage', 'a', '\r\n\r\n'], null])
})

t.test('a large reply in small chunks is parsed once, not once for each chunk', async t => {
  const text = Buffer.alloc(32 * 1024 * 1024, 'x')
  const decoder = new ReplyDecoder()
  const begun = performance.now()
  let replies = decoder.take(bytes(`$${text.length}\r\n`))
  for (let at = 0; at < text.length; at += 16 * 1024) {
    replies = replies.concat(decoder.take(text.subarray(at, at + 16 * 1024)))
  }
  replies = replies.concat(decoder.take(bytes('\r\n')))
  t.equal(replies.length, 1)
  t.ok(Buffer.isBuffer(replies[0]) && text.equals(replies[0]))
  t.ok(performance.now() - begun < 1000, 'joining it 2,048 times would take 20 s')
})

t.test("bytes that are not Redis' protocol are refused at once", async t => {
  for (const junk of [
    'HTTP/1.1 400 Bad Request\r\n\r\n',
    '$x\r\n',
    '$-2\r\n',
    ':1.5\r\n',
    ':\r\n',
    '$536870913\r\n',
    '*1048577\r\n',
    '*1\r\n'.repeat(9) + ':1\r\n'
  ]) {
    t.throws(
      () => new ReplyDecoder().take(bytes(junk)),
      /does not speak Redis' protocol/,
      JSON.stringify(junk.slice(0, 40))
    )
  }
})

t.test('the limits themselves are allowed', async t => {
  for (const start of ['$536870912\r\n', '*1048576\r\n', `-${'x'.repeat(64 * 1024)}`]) {
    t.strictSame(new ReplyDecoder().take(bytes(start)), [])
  }
  const nested = '*1\r\n'.repeat(8) + ':1\r\n'
  t.strictSame(new ReplyDecoder().take(bytes(nested)).map(plain), [[[[[[[[[1]]]]]]]]])
  t.throws(
    () => new ReplyDecoder().take(bytes(`-${'x'.repeat(64 * 1024 + 1)}`)),
    /does not speak Redis' protocol/
  )
})

t.test('a command counts bytes and not characters', async t => {
  t.equal(
    encodeCommand(['SSUBSCRIBE', 'room:{café}']),
    '*2\r\n$10\r\nSSUBSCRIBE\r\n$12\r\nroom:{café}\r\n'
  )
})
