// What processes tell each other about lost publications, with a cluster that is a list of answers:
// what they cannot hear, hear twice, or hear late. faults/lost-publications runs the script itself.
import t, { type Test } from 'tap'
import { type Reply } from '../../src/redis/connection.js'
import { type Cluster } from '../../src/redis/cluster.js'
import { PEER_PLACES } from '../../src/store/keys.js'
import { slotOf } from '../../src/redis/slots.js'
import { Peers } from '../../src/store/peers.js'
import { sequence } from '../support/client.js'
import { until } from '../support/until.js'

const VANISHED_MS = 500

type Place = { readonly entries: Array<[string, string, string]>; isDown: boolean }

/** A cluster that knows only the scripts of peers, and peers that use it. */
async function worldOf(t: Test) {
  const places = new Map<number, Place>(
    PEER_PLACES.map(({ slot }) => [slot, { entries: [['0-1', 'began', 'x']], isDown: false }])
  )
  const sent: string[][] = []
  const command = async (slot: number, args: Array<string | Buffer>): Promise<Reply> => {
    const place = places.get(slot)
    if (place === undefined || place.isDown) throw new Error('down')
    const [, , keyCount, ...rest] = args.map(String)
    const [, , since, ...doubts] = rest.slice(Number(keyCount))
    if (keyCount === '1') return 1
    sent.push(doubts)
    for (const doubt of doubts) {
      place.entries.push([`0-${place.entries.length + 1}`, 'doubt', doubt])
    }
    const from = place.entries.findIndex(([id]) => id === since)
    return place.entries
      .slice(from < 0 ? -1 : from)
      .map(([id, field, value]) => [id, [field, value]])
  }
  const heard: Array<readonly string[] | 'all'> = []
  const peers = new Peers(
    // Peers only send commands to a cluster.
    { command } as unknown as Cluster,
    { vanishedMs: VANISHED_MS },
    {
      doubted: channels => {
        heard.push(channels)
      },
      failed: () => undefined
    }
  )
  t.teardown(() => peers.leave())
  await peers.start()
  return { peers, places: [...places.values()], heard, sent }
}

t.test('the three places lie on different thirds of the slots', async t => {
  t.same(
    PEER_PLACES.map(({ slot }) => Math.floor((3 * slot) / 16384)),
    [0, 1, 2]
  )
  for (const { slot, signs, doubts, clock } of PEER_PLACES) {
    t.same([signs, doubts, clock].map(slotOf), [slot, slot, slot])
  }
})

t.test('a death that is announced at three places counts as one', async t => {
  const { places, heard } = await worldOf(t)
  for (const { entries } of places) entries.push(['0-2', 'gone', 'peer'])
  await until('it is heard', () => heard.length > 0)
  for (const { entries } of places) entries.push(['0-3', 'doubt', 'other:1\nroom:{a}'])
  await until('the next news are heard', () => heard.length > 1)
  t.same(heard, ['all', ['room:{a}']])
})

t.test('a death announced at one place is heard while the other places are down', async t => {
  const { places, heard } = await worldOf(t)
  for (const place of places.slice(1)) place.isDown = true
  places[0]?.entries.push(['0-2', 'gone', 'peer'])
  await until('it is heard', () => heard.length > 0)
  t.same(heard, ['all'])
})

t.test('a process that hears nothing anywhere doubts all rooms until it hears again', async t => {
  const { places, heard } = await worldOf(t)
  for (const place of places) place.isDown = true
  const from = performance.now()
  await until('everything is in doubt, twice', () => heard.length > 1)
  const ms = performance.now() - from
  t.ok(ms >= 2 * VANISHED_MS - VANISHED_MS / 5, `twice after ${ms} ms`)
  t.ok(heard.every(channels => channels === 'all'))
  for (const place of places) place.isDown = false
  for (const { entries } of places) entries.push(['0-2', 'doubt', 'other:1\nuser:{a}'])
  await until('it hears again', () => heard.some(channels => channels !== 'all'))
})

t.test('if a place has forgotten news, everything is in doubt', async t => {
  const { places, heard } = await worldOf(t)
  places[1]?.entries.splice(0, 1, ['9-9', 'doubt', 'other:1\nroom:{a}'])
  await until('everything is in doubt', () => heard.includes('all'))
})

t.test('own doubts are announced at every place, once, when it can be reached', async t => {
  const { peers, places, heard, sent } = await worldOf(t)
  for (const place of places.slice(1)) place.isDown = true
  peers.doubt('room:{a}')
  peers.doubt('room:{a}')
  peers.doubt('user:{b}')
  await until('it is announced at the first', () => sent.some(doubts => doubts.length > 0))
  for (const place of places) place.isDown = false
  const told = () =>
    places.flatMap(({ entries }) => entries.filter(([, field]) => field === 'doubt'))
  await until('it is announced at all of them', () => told().length === 3)
  for (const [, , text] of told()) t.match(text, /^.+:1\nroom:\{a\}\nuser:\{b\}$/)
  t.same(heard, [['room:{a}', 'user:{b}']], 'this process has heard it only from itself')
})

t.test('64 channels are named one by one; 65 are announced as all channels', async t => {
  for (const count of [63, 64, 65]) {
    const { peers, heard } = await worldOf(t)
    for (const n of sequence(1, count)) peers.doubt(`room:{${n}}`)
    await until('it is told', () => heard.length > 0)
    t.equal(heard[0]?.length, count > 64 ? 'all'.length : count)
    t.equal(heard[0] === 'all', count > 64)
  }
})
