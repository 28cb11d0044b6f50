// When, and for how long, requests are held back because new connections keep arriving; without
// sockets.
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { AcceptFirst } from '../../src/routes/accept-first.js'
import { until } from '../support/until.js'

const HELD_MS_MAX = 250

t.test('nothing is held while no connection comes', async t => {
  t.equal(new AcceptFirst().isAccepting, false)
})

t.test('held work runs in order, after the first turn without a connection', async t => {
  const acceptFirst = new AcceptFirst()
  const ran: number[] = []
  for (let connection = 1; connection <= 5; connection++) {
    acceptFirst.accepted()
    t.equal(acceptFirst.isAccepting, true)
    acceptFirst.hold(() => ran.push(connection))
    await turn()
    t.strictSame(ran, [], `connection ${connection}`)
  }
  await until('the work', () => ran.length > 0)
  t.strictSame(ran, [1, 2, 3, 4, 5])
  t.equal(acceptFirst.isAccepting, false)
})

t.test('endless connections hold work back for 250 ms, and then work has as much time', async t => {
  const acceptFirst = new AcceptFirst()
  const ran: number[] = []
  const begun = performance.now()
  acceptFirst.accepted()
  acceptFirst.hold(() => {
    ran.push(performance.now())
  })
  while (ran.length === 0) {
    acceptFirst.accepted()
    await turn()
  }
  const [ranAt = Infinity] = ran
  t.ok(ranAt - begun >= HELD_MS_MAX, `held for ${Math.round(ranAt - begun)} ms`)
  const heldAgain = async (): Promise<number> => {
    while (!acceptFirst.isAccepting) {
      acceptFirst.accepted()
      await turn()
    }
    return performance.now()
  }
  const pause = (await heldAgain()) - ranAt
  t.ok(pause >= HELD_MS_MAX - 1, `the next hold begins ${Math.round(pause)} ms later`)
})
