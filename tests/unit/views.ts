// What the majority of the masters says about one of them, put together from the nodes' views.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { parseClusterNodes, Topology } from '../../src/redis/topology.js'
import { Views } from '../../src/redis/views.js'

const MASTERS = ['m:1', 'm:2', 'm:3']
const REPLICA = 'r:1'

/** CLUSTER NODES of a master that sees the first master and its replica like this. */
const view = ({ master = 'master', replica = 'slave' } = {}): string =>
  [
    `id-1 m:1@1 ${master} - 0 0 1 connected 0-5000`,
    'id-2 m:2@1 master - 0 0 2 connected 5001-10000',
    'id-3 m:3@1 master - 0 0 3 connected 10001-16383',
    `id-4 ${REPLICA}@1 ${replica} id-1 0 0 1 connected`
  ].join('\n')

const SEES = { text: view(), ms: 0 }
const SUSPECTS = { text: view({ replica: 'slave,fail?' }), ms: 0 }
const DENIES = { text: view({ master: 'master,fail?' }), ms: 0 }
const later = ({ text }: { text: string }): { text: string; ms: number } => ({ text, ms: 40 })

/** Views of a cluster whose masters answer like this, in this order; undefined: not at all. */
function viewsOf(answers: ReadonlyArray<{ text: string; ms: number } | undefined>): Views {
  const topology = Topology.fromViews([parseClusterNodes(view(), 'm')])
  const views = new Views({
    seeds: [],
    addressMap: new Map(),
    connectTimeoutMs: 2_000,
    known: topology.nodes,
    ask: async key => {
      const answer = answers[MASTERS.indexOf(key)]
      if (answer === undefined) return await new Promise<never>(() => undefined)
      await sleep(answer.ms)
      return answer.text
    }
  })
  views.follow(topology)
  return views
}

t.test('a replica has failed once any majority of the masters suspects it', async t => {
  for (const answers of [
    [SEES, SUSPECTS, later(SUSPECTS)],
    [SUSPECTS, SEES, later(SUSPECTS)],
    [later(SUSPECTS), SEES, SUSPECTS]
  ]) {
    t.same(await viewsOf(answers).standingOf('m:1'), { isMaster: true, replicas: [] })
  }
})

t.test('a replica that fewer suspect is seen', async t => {
  for (const answers of [
    [SEES, SEES, SEES],
    [SEES, SUSPECTS, later(SEES)],
    [SEES, SEES, later(SUSPECTS)]
  ]) {
    t.same(await viewsOf(answers).standingOf('m:1'), { isMaster: true, replicas: [REPLICA] })
  }
})

t.test('a master that has vanished holds nobody up, whether it is needed or not', async t => {
  for (const [answers, replicas] of [
    [[SUSPECTS, SUSPECTS, undefined], []],
    [[SEES, SUSPECTS, undefined], [REPLICA]]
  ] as const) {
    const begunAt = performance.now()
    t.same(await viewsOf(answers).standingOf('m:1'), { isMaster: true, replicas })
    t.ok(performance.now() - begunAt < 1_000)
  }
})

t.test('masters that do not vouch for a node make no majority', async t => {
  const { isMaster } = await viewsOf([SEES, DENIES, DENIES]).standingOf('m:1')
  t.equal(isMaster, false)
  t.same(await viewsOf([SEES, DENIES, later(SUSPECTS)]).standingOf('m:1'), {
    isMaster: true,
    replicas: [REPLICA]
  })
  await t.rejects(viewsOf([SEES, undefined, undefined]).standingOf('m:1'), {
    message: 'No majority of the masters answers'
  })
})
