// The limits of requests in progress, at, below and above them.
import t from 'tap'
import { type IncomingMessage } from 'node:http'
import { RequestBudget } from '../../src/routes/request-budget.js'

const REQUESTS_MAX = 3
const BYTES_MAX = 100
const BODY_MAX = 60

const newBudget = (): RequestBudget =>
  new RequestBudget({
    requestsMax: REQUESTS_MAX,
    requestsBytesMax: BYTES_MAX,
    bodyBytesMax: BODY_MAX
  })

// The budget looks at nothing but the headers.
const requestWith = (headers: IncomingMessage['headers']): IncomingMessage =>
  ({ headers }) as IncomingMessage
const withBytes = (bytes: number): IncomingMessage =>
  requestWith({ 'content-length': String(bytes) })

/** Adds a request. @returns whether it is one too many */
function isRefused(budget: RequestBudget, request: IncomingMessage): boolean {
  return budget.isExceededBy(budget.add(request))
}

t.test('as many requests as allowed are taken, and one more is not', async t => {
  const budget = newBudget()
  for (let count = 1; count <= REQUESTS_MAX; count++) {
    t.notOk(isRefused(budget, requestWith({})), `request ${count}`)
  }
  t.ok(isRefused(budget, requestWith({})))
  t.equal(budget.requests, REQUESTS_MAX + 1, 'a refused request counts until it is answered')
  budget.remove(0)
  budget.remove(0)
  t.notOk(isRefused(budget, requestWith({})), 'there is room again')
})

t.test('bodies are taken up to the bytes allowed together', async t => {
  for (const [second, isTooMuch] of [
    [BYTES_MAX - BODY_MAX - 1, false],
    [BYTES_MAX - BODY_MAX, false],
    [BYTES_MAX - BODY_MAX + 1, true]
  ] as const) {
    const budget = newBudget()
    t.notOk(isRefused(budget, withBytes(BODY_MAX)))
    t.equal(isRefused(budget, withBytes(second)), isTooMuch, `${BODY_MAX} and ${second} bytes`)
    budget.remove(second)
    t.notOk(isRefused(budget, withBytes(1)), 'what was removed no longer counts')
  }
})

t.test(
  'a body counts as at most the largest one allowed, and so does one of unknown length',
  async t => {
    const budget = newBudget()
    t.equal(budget.add(withBytes(BODY_MAX - 1)), BODY_MAX - 1)
    t.equal(budget.add(withBytes(BODY_MAX)), BODY_MAX)
    t.equal(budget.add(withBytes(BODY_MAX + 1)), BODY_MAX)
    t.equal(budget.add(requestWith({ 'transfer-encoding': 'chunked' })), BODY_MAX)
    t.equal(budget.add(requestWith({})), 0)
  }
)

t.test('a body larger than the limit of all together is taken when it is the only one', async t => {
  const budget = new RequestBudget({
    requestsMax: REQUESTS_MAX,
    requestsBytesMax: BYTES_MAX,
    bodyBytesMax: 10 * BYTES_MAX
  })
  t.notOk(isRefused(budget, withBytes(BYTES_MAX + 1)))
  t.ok(isRefused(budget, withBytes(1)))
})
