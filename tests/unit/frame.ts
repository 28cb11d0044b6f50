// The bytes on the wire: frames that any SSE parser reads back, bytes that stay the same however
// they are sliced, and publications that decode to what was encoded.
import assert from 'node:assert/strict'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import fc from 'fast-check'
import t from 'tap'
import { decodePublication, encodePublication } from '../../src/message/publication.js'
import {
  encodeFrame,
  entryJson,
  eventFrame,
  formatTime,
  type Frames,
  frameAt,
  frameMs,
  framesFrom,
  framesOf,
  lastOf,
  messageJson,
  piecesOf
} from '../../src/message/frame.js'
import { type Entry, isLost, isMessage, type Message } from '../../src/message/message.js'
import { names } from '../support/names.js'

const times = fc.integer({ min: 0, max: 253_402_300_799_999 })
const contents = fc.record({
  user: names,
  text: fc.string({ unit: 'binary', maxLength: 60 }),
  ms: times,
  isLost: fc.boolean()
})

/** Consecutive entries of one room, some of them lost. */
const entryLists: fc.Arbitrary<Entry[]> = fc
  .tuple(
    names,
    fc.integer({ min: 1, max: 2 ** 40 }),
    fc.array(contents, { minLength: 1, maxLength: 12 })
  )
  .map(([room, first, contents]) =>
    contents.map(({ isLost, ms, user, text }, index) => {
      return isLost
        ? { room, seq: first + index, ms, lost: true }
        : { room, seq: first + index, user, text, ms }
    })
  )
const messageLists = entryLists
  .map(entries =>
    entries
      .filter(entry => !isLost(entry))
      .map((entry, index, all) => ({ ...entry, seq: (all[0]?.seq ?? 1) + index }))
  )
  .filter((messages): messages is Message[] => messages.length > 0)

/** What an EventSource would receive, in chunks that are cut anywhere. */
function parse(bytes: Buffer, chunkLength = bytes.length): EventSourceMessage[] {
  const events: EventSourceMessage[] = []
  const parser = createParser({
    onEvent: event => events.push(event),
    onError: error => {
      throw error
    }
  })
  const decoder = new TextDecoder()
  for (let start = 0; start < bytes.length; start += chunkLength) {
    parser.feed(decoder.decode(bytes.subarray(start, start + chunkLength), { stream: true }))
  }
  return events
}

function eventOf(entry: Entry): EventSourceMessage {
  const { room, seq, ms } = entry
  return !isMessage(entry)
    ? { id: `${seq}-${ms}`, event: 'lost', data: JSON.stringify({ room, seq, lost: true }) }
    : {
        id: `${seq}-${ms}`,
        event: undefined,
        data: JSON.stringify({
          room,
          seq,
          user: entry.user,
          text: entry.text,
          at: new Date(ms).toISOString()
        })
      }
}

function assertSame(frames: Frames, entries: readonly Entry[]): void {
  assert.equal(frames.first, entries[0]?.seq)
  assert.equal(lastOf(frames), entries.at(-1)?.seq)
  assert.equal(frames.ends.length, entries.length)
  assert.equal(frames.ends.at(-1), frames.bytes.length)
  assert.equal(frames.bytes.toString(), entries.map(encodeFrame).join(''))
  for (const entry of entries) {
    assert.equal(frameAt(frames, entry.seq).toString(), encodeFrame(entry))
    assert.equal(frameMs(frameAt(frames, entry.seq)), entry.ms)
  }
}

t.test('a message has the documented form on the wire', async t => {
  const message = {
    room: 'room123',
    seq: 42,
    user: 'lady_gaga',
    text: 'a "b"\n☃',
    ms: 1_700_000_000_123
  }
  t.equal(
    encodeFrame(message),
    'id: 42-1700000000123\ndata: {"room":"room123","seq":42,"user":"lady_gaga","text":"a \\"b\\"\\n☃","at":"2023-11-14T22:13:20.123Z"}\n\n'
  )
  t.equal(
    encodeFrame({ room: 'room123', seq: 43, ms: 0, lost: true }),
    'id: 43-0\nevent: lost\ndata: {"room":"room123","seq":43,"lost":true}\n\n'
  )
  t.equal(
    eventFrame('live', '43-0', { room: 'room123', head: 43 }),
    'id: 43-0\nevent: live\ndata: {"room":"room123","head":43}\n\n'
  )
})

t.test(
  'a parser reads from frames exactly what was put into them, wherever the chunks end',
  async () => {
    fc.assert(
      fc.property(entryLists, fc.integer({ min: 1, max: 300 }), (entries, chunkLength) => {
        // Lone surrogates are refused earlier, and would not survive UTF-8.
        fc.pre(entries.every(entry => !isMessage(entry) || !/\p{Cs}/u.test(entry.text)))
        const events = parse(framesOf(entries).bytes, chunkLength)
        assert.deepEqual(
          events.map(({ id, event, data }) => ({ id, event, data })),
          entries.map(eventOf)
        )
      })
    )
  }
)

t.test('the JSON of a message is the same in frames, POST answers and pages', async () => {
  fc.assert(
    fc.property(messageLists, messages => {
      for (const message of messages) {
        assert.equal(messageJson(message), entryJson(message))
        const { room, seq, user, text, ms } = message
        assert.deepEqual(JSON.parse(messageJson(message)), {
          room,
          seq,
          user,
          text,
          at: new Date(ms).toISOString()
        })
      }
    })
  )
})

t.test('times are RFC 3339 with milliseconds, whatever was formatted before', async t => {
  t.equal(formatTime(0), '1970-01-01T00:00:00.000Z')
  fc.assert(
    fc.property(fc.array(times, { maxLength: 5 }), list => {
      for (const ms of [...list, ...list]) assert.equal(formatTime(ms), new Date(ms).toISOString())
    })
  )
})

t.test('frames know where each of them begins and ends', async () => {
  fc.assert(
    fc.property(entryLists, entries => {
      assertSame(framesOf(entries), entries)
    })
  )
})

t.test(
  'in pieces, frames keep their bytes; no piece exceeds the limit unless it is a single frame, and none has room for the next frame',
  async () => {
    fc.assert(
      fc.property(entryLists, fc.integer({ min: 1, max: 2000 }), (entries, bytesMax) => {
        const whole = framesOf(entries)
        const pieces = [...piecesOf(entries, bytesMax)]
        assert.equal(
          Buffer.concat(pieces.map(({ bytes }) => bytes)).toString(),
          whole.bytes.toString()
        )
        let next = entries[0]?.seq ?? 0
        for (const [index, piece] of pieces.entries()) {
          assert.equal(piece.first, next)
          next = lastOf(piece) + 1
          assert.ok(piece.bytes.length <= bytesMax || piece.ends.length === 1)
          const following = pieces[index + 1]
          if (following !== undefined) {
            assert.ok(piece.bytes.length + frameAt(following, following.first).length > bytesMax)
          }
        }
        assert.equal(next, (entries.at(-1)?.seq ?? -1) + 1)
      })
    )
  }
)

t.test(
  'frames stay valid when cut before any of their sequences, or right after the last',
  async () => {
    fc.assert(
      fc.property(
        entryLists,
        fc.integer({ min: -3, max: 12 }),
        fc.integer({ min: 0, max: 12 }),
        (entries, offset, again) => {
          const frames = framesOf(entries)
          const first = entries[0]?.seq ?? 0
          const cut = framesFrom(frames, first + Math.min(offset, entries.length))
          const rest = entries.slice(Math.max(0, offset))
          if (rest.length === 0) {
            assert.equal(cut.bytes.length, 0)
            assert.equal(lastOf(cut), cut.first - 1)
          } else {
            assertSame(cut, rest)
            // Cutting twice equals cutting once, further on.
            if (again < rest.length) {
              assertSame(framesFrom(cut, cut.first + again), rest.slice(again))
            }
          }
          assert.ok(
            offset <= 0 ? cut === frames : cut.bytes.buffer === frames.bytes.buffer,
            'the bytes are shared, not copied'
          )
        }
      )
    )
  }
)

t.test('a publication decodes to what was encoded, in a buffer of its own', async () => {
  fc.assert(
    fc.property(messageLists, fc.nat(50), (messages, padding) => {
      const payload = Buffer.from(encodePublication(messages))
      // As it arrives: a slice of the socket's chunk.
      const chunk = Buffer.concat([Buffer.alloc(padding), payload, Buffer.alloc(padding)])
      const frames = decodePublication(chunk.subarray(padding, padding + payload.length))
      assert.ok(frames !== undefined)
      assertSame(frames, messages)
      chunk.fill(0)
      assertSame(frames, messages)
    })
  )
})

t.test('anything that is not a publication is refused', async t => {
  const frame = encodeFrame({ room: 'r', seq: 1, user: 'u', text: 't', ms: 0 })
  const { length } = frame
  for (const payload of [
    '',
    '\n',
    'x',
    `1 ${length}`,
    `1\n${frame}`,
    '1 \n',
    `0 ${length}\n${frame}`,
    `-1 ${length}\n${frame}`,
    `1.5 ${length}\n${frame}`,
    `x ${length}\n${frame}`,
    `1 ${length - 1}\n${frame}`,
    `1 ${length + 1}\n${frame}`,
    `1 ${length} 0\n${frame}`,
    `1 -1 ${length + 1}\n${frame}`,
    `1 ${length - 0.5} 0.5\n${frame}`,
    `1 ${length} x\n${frame}`,
    `9007199254740993 ${length}\n${frame}`
  ]) {
    t.equal(decodePublication(Buffer.from(payload)), undefined, JSON.stringify(payload))
  }
  t.equal(decodePublication(Buffer.from(encodePublication([]))), undefined)
})

t.test('any bytes are either refused or decode to frames without a gap', async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc
      .tuple(
        fc.array(fc.constantFrom('0', '1', '5', '-', '.', 'e', ' ', '\n', 'x'), { maxLength: 20 }),
        fc.uint8Array({ maxLength: 20 })
      )
      .map(([header, rest]) => Buffer.concat([Buffer.from(`${header.join('')}\n`), rest]))
  )
  fc.assert(
    fc.property(bytes, bytes => {
      const frames = decodePublication(Buffer.from(bytes))
      if (frames === undefined) return
      assert.ok(
        frames.ends.every(
          (end, index) => Number.isSafeInteger(end) && end > (frames.ends[index - 1] ?? 0)
        )
      )
      assert.equal(frames.ends.at(-1), frames.bytes.length)
    }),
    { numRuns: 3000 }
  )
})

t.test('a publication of a change names the changed message, and decodes again', async t => {
  const entries: Entry[] = [
    { room: 'r', seq: 7, ms: 1000, changes: 3, text: 'new\n' },
    { room: 'r', seq: 8, ms: 1001, changes: 5, text: undefined }
  ]
  const frames = decodePublication(Buffer.from(encodePublication(entries)))
  t.match(frames, { first: 7, changes: [3, 5] })
  t.equal(
    frames?.bytes.toString(),
    [
      'id: 7-1000',
      'event: changed',
      'data: {"room":"r","seq":7,"changes":3,"text":"new\\n","at":"1970-01-01T00:00:01.000Z"}',
      '',
      'id: 8-1001',
      'event: changed',
      'data: {"room":"r","seq":8,"changes":5,"deleted":true,"at":"1970-01-01T00:00:01.001Z"}',
      '',
      ''
    ].join('\n')
  )
  t.strictSame(framesOf(entries).changes, [3, 5])
  t.strictSame(framesFrom(framesOf(entries), 8).changes, [3, 5])
  t.equal(framesOf([{ room: 'r', seq: 1, user: 'a', text: 'x', ms: 1 }]).changes, undefined)
  for (const payload of ['changed \n7 1\nx', 'changed 0\n7 1\nx', 'changed 1', 'changed 1\nx']) {
    t.equal(decodePublication(Buffer.from(payload)), undefined, JSON.stringify(payload))
  }
})

t.test('an entry shows the message as it is now: changed, or deleted without text', async t => {
  t.equal(
    entryJson({ room: 'r', seq: 1, user: 'ann', text: 'new', ms: 0, changedMs: 1 }),
    '{"room":"r","seq":1,"user":"ann","text":"new","at":"1970-01-01T00:00:00.000Z","changed":"1970-01-01T00:00:00.001Z"}'
  )
  t.equal(
    encodeFrame({ room: 'r', seq: 1, ms: 0, deleted: true }),
    'id: 1-0\nevent: deleted\ndata: {"room":"r","seq":1,"deleted":true,"at":"1970-01-01T00:00:00.000Z"}\n\n'
  )
})
