// /health/ready while Redis is partly or wholly dead: a load balancer must hear of it. A service
// that is alive but not ready is not restarted, because that would help nobody.
import t from 'tap'
import { request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { until } from '../support/until.js'

t.test('a service is not ready without a third of the slots, nor without all nodes', async t => {
  const cluster = await startCluster(t, { replicas: 0, nodeTimeoutMs: 1000 })
  const service = await startService(t, { redisNodes: cluster.urls })
  const isReady = async (status: number): Promise<void> => {
    await until(
      `ready says ${status}`,
      async () => (await request(`${service.url}/health/ready`)).status === status,
      20_000
    )
  }
  const notReady = async (message: RegExp): Promise<void> => {
    await isReady(503)
    t.match(await request(`${service.url}/health/ready`), {
      status: 503,
      body: { code: 'STORE_UNAVAILABLE', message }
    })
    t.equal((await request(`${service.url}/health/live`)).status, 200)
  }
  await isReady(200)

  await cluster.nodes[0]?.kill('SIGKILL')
  await notReady(/^5461 of 16384 slots of the cluster are not served/)
  await cluster.nodes[0]?.start()
  await isReady(200)

  await Promise.all(cluster.nodes.map(node => node.kill('SIGKILL')))
  await notReady(/^No node of the cluster answers: /)
  // What the nodes said last is that all are well.
  t.match((await request(`${service.url}/cluster`)).body, {
    shards: Array.from({ length: 3 }, () => ({ master: { isUp: false }, keys: null }))
  })
  await Promise.all(cluster.nodes.map(node => node.start()))
  await isReady(200)
})
