// The example of compose/README.md: a main application logs two people in, they talk, and a third
// person hears nothing.
import t from 'tap'
import { freshRoom, post, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'

const SECRET = 'shared-by-both-applications-of-this-test'
// This file is dist/tests/cluster/main-app.js when it runs.
const EXAMPLE = new URL('../../../compose/examples/main-app.mjs', import.meta.url)
type MainApp = {
  readonly listen: (options: { readonly port: number }) => Promise<string>
  readonly close: () => Promise<void>
}
const { buildMainApp } = (await import(EXAMPLE.href)) as {
  readonly buildMainApp: (options: { readonly secret: string }) => MainApp
}

const cluster = await startCluster(t)
const { url } = await startService(t, {
  redisNodes: cluster.urls,
  env: { AUTH_JWT_SECRET: SECRET }
})
const main = buildMainApp({ secret: SECRET })
t.teardown(() => main.close())
const mainUrl = await main.listen({ port: 0 })

const logIn = (user: string, password: string) =>
  request(`${mainUrl}/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user, password })
  })
const bearerOf = async (user: string): Promise<Record<string, string>> => {
  const { body } = await logIn(user, `${user}-demo`)
  return { authorization: `Bearer ${String(body['token'])}` }
}

t.test('two people who have logged in talk, and a third hears nothing', async t => {
  const [ann, bob, eve] = await Promise.all(['ann', 'bob', 'eve'].map(bearerOf))
  const stream = openSse(t, `${url}/rooms/dialog-1/events`, bob)
  await stream.isLive()
  t.equal((await post(url, 'dialog-1', 'ann', 'hello bob', ann)).status, 201)
  t.equal((await post(url, 'dialog-1', 'bob', 'hello ann', bob)).status, 201)
  await stream.sees('both messages', events =>
    ['hello bob', 'hello ann'].every(text => events.some(({ data }) => data['text'] === text))
  )
  t.equal((await post(url, 'dialog-1', 'eve', 'me too', eve)).status, 403)
  t.equal((await request(`${url}/rooms/dialog-1/messages`, { headers: eve ?? {} })).status, 403)
  t.equal((await post(url, freshRoom(), 'ann', 'elsewhere', ann)).status, 403)
  t.equal((await logIn('ann', 'wrong')).status, 401)
  t.equal((await logIn('nobody', '')).status, 401)
})
