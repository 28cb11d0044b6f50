// The limits of requests in progress and of their bytes, at, below and above them.
import t from 'tap'
import { RequestBudget } from '../../src/routes/request-budget.js'

const REQUESTS_MAX = 3
const BYTES_MAX = 100

const newBudget = (): RequestBudget =>
  new RequestBudget({ requestsMax: REQUESTS_MAX, requestsBytesMax: BYTES_MAX })

t.test('as many requests as allowed are taken, and one more is not', async t => {
  const budget = newBudget()
  for (let count = 1; count <= REQUESTS_MAX; count++) t.notOk(budget.add(), `request ${count}`)
  t.ok(budget.add())
  t.equal(budget.requests, REQUESTS_MAX + 1, 'a refused request counts until it is answered')
  budget.remove(0)
  budget.remove(0)
  t.notOk(budget.add(), 'there is room again')
})

t.test('bodies are taken up to the bytes allowed together', async t => {
  for (const [second, isTooMuch] of [
    [BYTES_MAX - 61, false],
    [BYTES_MAX - 60, false],
    [BYTES_MAX - 59, true]
  ] as const) {
    const budget = newBudget()
    budget.add()
    t.notOk(budget.addBytes(25, 0))
    t.notOk(budget.addBytes(35, 25))
    budget.add()
    t.equal(budget.addBytes(second, 0), isTooMuch, `60 and ${second} bytes`)
    budget.remove(second)
    budget.add()
    t.notOk(budget.addBytes(1, 0), 'what was removed no longer counts')
  }
})

t.test(
  'a body larger than the limit of all together is taken while it is the only one',
  async t => {
    const budget = newBudget()
    budget.add()
    t.notOk(budget.addBytes(BYTES_MAX, 0))
    t.notOk(budget.addBytes(1, BYTES_MAX))
    budget.add()
    t.ok(budget.addBytes(1, 0))
    t.ok(budget.addBytes(1, BYTES_MAX + 1), 'from now on it is not')
  }
)
