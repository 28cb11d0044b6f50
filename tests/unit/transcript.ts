// Which messages the page keeps, whatever arrives in whatever order: the pure part of the page.
import fc from 'fast-check'
import t from 'tap'
import { Transcript } from '../../web/transcript.js'

const entry = (seq: number) => ({
  room: 'room',
  seq,
  user: 'ann',
  text: `message ${seq}`,
  at: '2026-01-02T03:04:05.678Z'
})
const page = (first: number, last: number) =>
  Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => entry(first + index))
const LIMITS = { shownMax: 20, followedMax: 6, recentMax: 8 }
const shown = (transcript: Transcript): number[] => transcript.shown.map(({ seq }) => seq)
const seqs = (first: number, last: number): number[] => page(first, last).map(({ seq }) => seq)

function filled(last: number, limits = LIMITS): Transcript {
  const transcript = new Transcript(limits)
  for (const each of page(1, last)) transcript.add(each, true)
  return transcript
}

t.test('an entry is added once, at the place of its sequence', async t => {
  const transcript = new Transcript(LIMITS)
  t.same(
    [5, 7, 6, 7, 5, 8].map(seq => transcript.add(entry(seq), true)),
    [true, true, true, false, false, true]
  )
  t.same(shown(transcript), [5, 6, 7, 8])
})

t.test('a reader who follows keeps the newest few', async t => {
  const transcript = filled(100)
  const numbers = shown(transcript)
  t.same(numbers, seqs(100 - numbers.length + 1, 100))
  t.ok(numbers.length >= 6 && numbers.length <= 7)
})

t.test(
  'new messages remove no row from a reader who has scrolled up, and a jump shows them',
  async t => {
    const transcript = filled(7)
    for (const each of page(8, 60)) transcript.add(each, false)
    t.same(shown(transcript), seqs(1, 20))
    t.notOk(transcript.isAtNewest)
    transcript.jumpToNewest()
    t.ok(transcript.isAtNewest)
    t.equal(shown(transcript).at(-1), 60)
  }
)

t.test('paging back drops the newest messages, and paging forward rejoins the stream', async t => {
  const transcript = filled(100)
  while ((shown(transcript)[0] ?? 0) > 50) {
    transcript.addEarlier(page((shown(transcript)[0] ?? 0) - 8, (shown(transcript)[0] ?? 0) - 1))
  }
  t.notOk(transcript.isAtNewest)
  transcript.add(entry(101), false)
  t.ok((shown(transcript).at(-1) ?? 0) < 100, 'the stream leaves no hole')
  while (!transcript.isAtNewest) {
    transcript.addLater(
      page((shown(transcript).at(-1) ?? 0) + 1, (shown(transcript).at(-1) ?? 0) + 8)
    )
  }
  t.same(shown(transcript), seqs(shown(transcript)[0] ?? 0, 101))
  transcript.add(entry(102), true)
  t.equal(shown(transcript).at(-1), 102)
})

t.test('whatever a reader does, what is shown is one contiguous run within its bound', async t => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('add' as const), count: fc.nat(30), isFollowing: fc.boolean() }),
    fc.record({ do: fc.constantFrom('repeat', 'earlier', 'later', 'jump') })
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const transcript = new Transcript(LIMITS)
      let head = 100
      for (const each of steps) {
        const [first, last] = [shown(transcript)[0] ?? 0, shown(transcript).at(-1) ?? 0]
        if ('count' in each) {
          for (let n = 0; n < each.count; n++) transcript.add(entry(++head), each.isFollowing)
        } else if (each.do === 'repeat') transcript.add(entry(head), true)
        else if (each.do === 'earlier') {
          transcript.addEarlier(page(Math.max(1, first - 8), first - 1))
        } else if (each.do === 'later') {
          transcript.addLater(page(last + 1, Math.min(last + 8, head)))
        } else transcript.jumpToNewest()

        const numbers = shown(transcript)
        if (numbers.length > 25) return false
        if (numbers.some((seq, index) => index > 0 && seq !== (numbers[index - 1] ?? 0) + 1)) {
          return false
        }
      }
      return true
    })
  )
  t.pass()
})
