// The picture of the cluster: its stream, and the page in a real Chromium, while messages come and
// slots move.
import type { BrowserContextOptions, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { axeFindings } from '../support/axe.js'
import { runCluster } from '../support/cluster-command.js'
import { openChromium } from '../support/chromium.js'
import { freshRoom, post, postMany, request } from '../support/client.js'
import { startCluster } from '../support/embedded.js'
import { startService } from '../support/service.js'
import { openSse } from '../support/sse.js'
import { until } from '../support/until.js'

const cluster = await startCluster(t)
const { url } = await startService(t, { redisNodes: cluster.urls, env: { BLOCK_LENGTH: '20' } })
const env = { REDIS_NODES: cluster.urls.join(',') }
const browser = await openChromium(t)

async function openPage(t: Test, options?: BrowserContextOptions): Promise<Page> {
  const page = await browser.newPage(options)
  t.teardown(() => page.close())
  return page
}

type Shards = Array<{ id: string; master: { address: string }; slots: Array<[number, number]> }>

t.test('blocks, shards and the stream name one version; a moved slot changes it', async t => {
  const room = freshRoom()
  await postMany(url, room, 'ann', 45)
  const reader = openSse(t, `${url}/cluster/events`)
  await until('the picture and two figures', () => reader.events.length >= 4)
  t.same(
    reader.events.slice(0, 4).map(({ event }) => event),
    ['anybody-writes', 'cluster', 'figures', 'figures']
  )
  const { body } = await request(`${url}/cluster`)
  const shards = body['shards'] as Shards
  const blocks = await request(`${url}/rooms/${room}/blocks`)
  t.equal(blocks.body['version'], body['version'])
  t.equal(reader.events[1]?.data['version'], body['version'])
  for (const block of blocks.body['blocks'] as Array<{ slot: number; shard: string }>) {
    const owner = shards.find(({ slots }) =>
      slots.some(([first, last]) => first <= block.slot && block.slot <= last)
    )
    t.equal(block.shard, owner?.master.address)
  }
  const [from, to] = shards
  t.match(
    await runCluster(
      t,
      env,
      'reshard',
      '--from',
      from?.id ?? '',
      '--to',
      to?.id ?? '',
      '--slots',
      '0-9',
      '--yes'
    ),
    { status: 0 }
  )
  await until('a picture of another version', () =>
    reader.events.some(
      ({ event, data }) => event === 'cluster' && data['version'] !== body['version']
    )
  )
})

t.test("a browser that asks for /cluster is redirected to the room's picture", async t => {
  const response = await fetch(`${url}/cluster?room=a%26b`, {
    headers: { accept: 'text/html,*/*;q=0.8' },
    redirect: 'manual'
  })
  t.equal(response.status, 302)
  t.equal(response.headers.get('location'), 'cluster/?room=a%26b')
  t.equal(response.headers.get('vary'), 'accept')
  for (const path of ['cluster.ts', 'tsconfig.json', 'chat.html', 'cluster/bricks.ts']) {
    t.equal((await request(`${url}/cluster/${path}`)).status, 404, path)
  }
})

t.test(
  'the picture shows each block as a brick, follows writing, and bricks fly to their new shard',
  async t => {
    const room = freshRoom()
    await postMany(url, room, 'ann', 90)
    const page = await openPage(t)
    const complaints: string[] = []
    const asked: string[] = []
    page.on('request', request => {
      asked.push(request.url())
    })
    page.on('console', message => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
    })
    page.on('pageerror', error => {
      complaints.push(String(error))
    })
    await page.goto(`${url}/cluster?room=${room}`)
    await page.locator('.brick').nth(4).waitFor()
    t.equal(await page.locator('.brick').count(), 5, '90 messages of one user in blocks of 20')
    t.equal(await page.locator('.shard').count(), 3)
    t.equal((await page.locator('#slots .range').count()) >= 3, true)
    t.match(
      await page.locator('#summary').textContent(),
      '90 messages of 1 user in 5 bricks on 3 shards'
    )
    t.equal(await page.locator('#state').textContent(), 'Live')
    t.match(
      await page.locator('#thread path').getAttribute('d'),
      /^M .* L .* L .* L .* L /,
      'the thread joins five bricks'
    )

    // What each column says of its shard, and how even the room is.
    const shown = page.locator('.shard').first().locator('dt')
    t.same(await shown.allTextContents(), [
      'messages of the room',
      'slots',
      'keys',
      'memory',
      'commands/s',
      'entries/s',
      'replica lag'
    ])
    await until('all figures have come', async () =>
      (await page.locator('.shard dd').allTextContents()).every(text => /^\d/.test(text))
    )
    const { body: stored } = await request(`${url}/rooms/${room}/blocks`)
    const ofShard = new Map<string, number>()
    for (const { shard, messages } of stored['blocks'] as Array<{
      shard: string
      messages: number
    }>) {
      ofShard.set(shard, (ofShard.get(shard) ?? 0) + messages)
    }
    t.equal(await page.textContent('#one-key-ratio'), '3.00', 'one tower, and two empty shards')
    t.equal(
      await page.textContent('#blocks-ratio'),
      (Math.max(...ofShard.values()) / (90 / 3)).toFixed(2)
    )

    // The newest brick fills while its user writes.
    await postMany(url, room, 'dora', 10)
    await page.locator('.brick[title^="dora, block 0: 10 messages"]').dispatchEvent('click')
    const newest = page.locator('.brick.filling')
    await until('it is hers', async () => /^dora/.test((await newest.getAttribute('title')) ?? ''))
    const heightBefore = (await newest.boundingBox())?.height ?? 0
    await postMany(url, room, 'dora', 5)
    await until('it has filled', async () =>
      /: 15 messages/.test((await newest.getAttribute('title')) ?? '')
    )
    await until(
      'and is higher',
      async () => ((await newest.boundingBox())?.height ?? 0) > heightBefore * 1.2
    )

    // Lady Gaga writes, and is stopped.
    await page.locator('#write').click()
    await page.locator('.brick[title^="lady_gaga"]').nth(2).waitFor()
    await page.locator('#write').click()
    await page.getByRole('button', { name: 'Let Lady Gaga write' }).waitFor()
    t.ok(Number((await page.locator('#received').textContent())?.replaceAll(',', '')) > 40)
    t.equal(await page.locator('#lost').textContent(), '0')
    await page.locator('.brick[title^="lady_gaga"]').first().dispatchEvent('click')
    await until(
      'the thread is hers',
      async () => (await page.locator('#thread-user').textContent()) === 'lady_gaga'
    )

    // The slot of a brick moves to another shard while others write.
    const { body } = await request(`${url}/cluster`)
    const shards = body['shards'] as Shards
    const { body: listed } = await request(`${url}/rooms/${room}/blocks`)
    const [brick] = listed['blocks'] as Array<{ key: string; slot: number; shard: string }>
    const from = shards.find(({ master }) => master.address === brick?.shard)
    const to = shards.find(({ master }) => master.address !== brick?.shard)
    const columnOf = (shard: Shards[number] | undefined): number =>
      shards.findIndex(({ id }) => id === shard?.id)
    const place = page.locator(`.brick[title$="slot ${brick?.slot}"]`).first()
    const columnShown = async (): Promise<number> => {
      const { x = 0 } = (await place.boundingBox()) ?? {}
      const heads = await page.locator('.shard').all()
      const boxes = await Promise.all(heads.map(head => head.boundingBox()))
      return boxes.findIndex(box => box !== null && x >= box.x && x < box.x + box.width)
    }
    await until('it stands on its shard', async () => (await columnShown()) === columnOf(from))
    const [moved] = await Promise.all([
      runCluster(
        t,
        env,
        'reshard',
        '--from',
        from?.id ?? '',
        '--to',
        to?.id ?? '',
        '--slots',
        `${brick?.slot}-${brick?.slot}`,
        '--yes'
      ),
      postMany(url, room, 'bob', 60)
    ])
    t.match(moved, { status: 0 })
    await until('it has flown', async () => (await columnShown()) === columnOf(to))
    const masters = await page.locator('.shard .address').allTextContents()
    t.same(
      masters,
      shards.map(({ master }) => master.address),
      'each shard kept its column'
    )
    await until(
      'all are received',
      async () =>
        Number((await page.locator('#received').textContent())?.replaceAll(',', '')) >= 100
    )
    t.equal(await page.locator('#lost').textContent(), '0', 'nothing is lost on the way')
    t.same(
      asked.filter(address => !address.startsWith(url)),
      [],
      'nothing from elsewhere'
    )
    t.same(complaints, [])
  }
)

t.test('while a slot moves, the bar, the note and the brick say so, and then no more', async t => {
  const room = freshRoom()
  await postMany(url, room, 'ann', 25)
  const { body } = await request(`${url}/rooms/${room}/blocks`)
  const [brick] = body['blocks'] as Array<{ slot: number }>
  const slot = brick?.slot ?? -1
  const admin = await Admin.connect(redisTarget(cluster.urls))
  t.teardown(() => {
    admin.close()
  })
  const map = await admin.look()
  const owner = map.nodes.get(map.ownerOf(slot) ?? '')
  const other = map.masters.find(({ id }) => id !== owner?.id)
  if (owner === undefined || other === undefined) throw new Error('The cluster has no two masters')

  const page = await openPage(t)
  await page.goto(`${url}/cluster?room=${room}`)
  await page.locator('.brick').nth(1).waitFor()
  t.equal(await page.locator('#moving').textContent(), '')
  t.equal(await page.locator('.brick.moving, #slots .moving').count(), 0)

  await admin.ask(other, 'CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', owner.id)
  await admin.ask(owner, 'CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', other.id)
  await page.locator('#slots .moving').waitFor({ state: 'attached' })
  t.equal(await page.locator('#moving').textContent(), '1 slot is moving to another shard now.')
  t.match(
    await page.locator('.brick.moving').evaluateAll(all => all.map(({ title }) => title)),
    [new RegExp(`slot ${slot}$`)],
    'only its brick'
  )
  t.same(await axeFindings(page), [], 'axe finds nothing meanwhile')

  await admin.ask(owner, 'CLUSTER', 'SETSLOT', String(slot), 'STABLE')
  await admin.ask(other, 'CLUSTER', 'SETSLOT', String(slot), 'STABLE')
  await until('nothing moves', async () => (await page.locator('#slots .moving').count()) === 0)
  t.equal(await page.locator('#moving').textContent(), '')
  t.equal(await page.locator('.brick.moving').count(), 0)
})

t.test(
  'a message that is changed or deleted is not a lost one, and a room that is begun anew shows its new bricks',
  async t => {
    const room = freshRoom()
    await postMany(url, room, 'ann', 45)
    const page = await openPage(t)
    await page.goto(`${url}/cluster?room=${room}`)
    await page.locator('.brick').nth(2).waitFor()
    await page.getByText('Live', { exact: true }).waitFor()
    t.same(await page.locator('.block-length').allTextContents(), ['20', '20'])
    const heights = await page
      .locator('.brick')
      .evaluateAll(all => all.map(brick => brick.getBoundingClientRect().height))
    const full = Math.max(...heights)
    t.equal(heights.filter(height => Math.abs(height - full) < 2).length, 2, 'two are full')

    const received = async (): Promise<string | null> => page.locator('#received').textContent()
    await post(url, room, 'bob', 'first')
    await until('the stream is open', async () => (await received()) === '1')
    const headers = { 'content-type': 'application/json' }
    const body = JSON.stringify({ user: 'ann', text: 'better' })
    const messages = `${url}/rooms/${room}/messages`
    t.equal((await request(`${messages}/3`, { method: 'PATCH', headers, body })).status, 200)
    t.equal((await request(`${messages}/4?user=ann`, { method: 'DELETE' })).status, 200)
    await post(url, room, 'bob', 'second')
    await until('the second message', async () => (await received()) === '2')
    t.equal(await page.locator('#lost').textContent(), '0', 'two entries in between are changes')

    t.equal((await request(`${url}/rooms/${room}`, { method: 'DELETE' })).status, 200)
    await page.locator('#empty').waitFor({ state: 'visible' })
    t.equal(await page.locator('.brick').count(), 0)
    await postMany(url, room, 'ann', 5)
    await page.locator('.brick').waitFor()
    t.match(
      await page.locator('.brick').getAttribute('title'),
      /^ann, block \d+: 5 messages, slot \d+$/
    )
    t.match(
      await page.locator('#summary').textContent(),
      '5 messages of 1 user in 1 brick on 3 shards'
    )
    const { height = 0 } = (await page.locator('.brick').boundingBox()) ?? {}
    t.ok(height > 20, `few messages are more than a line: ${height} px`)
    t.equal(await page.locator('#lost').textContent(), '0')
  }
)

t.test(
  'a room without messages says so, and thirty shards of a thousand blocks stay within the window',
  async t => {
    const page = await openPage(t, { viewport: { width: 360, height: 740 } })
    await page.goto(`${url}/cluster?room=${freshRoom()}`)
    await page.locator('#empty').waitFor({ state: 'visible' })
    const [wall, note] = await Promise.all(
      ['#wall', '#empty'].map(each => page.locator(each).boundingBox())
    )
    t.ok(Number(note?.y) > Number(wall?.y), 'the wall itself says that it is empty')
    t.ok(Number(note?.y) + Number(note?.height) < Number(wall?.y) + Number(wall?.height))
    const slots = (index: number): [number, number] => [
      index * 546,
      index === 29 ? 16383 : index * 546 + 545
    ]
    const node = (index: number): object => ({
      id: `n${index}`,
      address: `10.0.0.${index}:6379`,
      isUp: ![1, 2, 102, 103].includes(index)
    })
    const picture = {
      version: 'thirty',
      shards: Array.from({ length: 30 }, (_, index) => ({
        id: `n${index}`,
        master: node(index),
        replicas: [node(index + 100)],
        slots: [slots(index)],
        slotCount: 546
      })),
      moving: []
    }
    const blocks = Array.from({ length: 1000 }, (_, index) => ({
      key: `big.{user-${index % 7}.${Math.floor(index / 7)}}`,
      slot: (index * 7919) % 16384,
      shard: null,
      messages: index % 11 === 0 ? 400 : 1000
    }))
    await page.route('**/cluster/events', route =>
      route.fulfill({
        contentType: 'text/event-stream',
        body: `event: cluster\ndata: ${JSON.stringify(picture)}\n\n`
      })
    )
    await page.route('**/blocks?*', route =>
      route.fulfill({
        contentType: 'application/json',
        body: JSON.stringify({ blockLength: 1000, blocks, next: null })
      })
    )
    for (const width of [360, 1440]) {
      await page.setViewportSize({ width, height: 900 })
      await page.goto(`${url}/cluster?room=big`)
      await page.locator('.brick').nth(999).waitFor({ state: 'attached' })
      t.equal(
        await page.evaluate('document.documentElement.scrollWidth > innerWidth'),
        false,
        `the page does not scroll sideways at ${width} px`
      )
      const [smallest, outside] = await page.evaluate<[number, number]>(`(() => {
      const wall = document.querySelector('#wall').getBoundingClientRect()
      const boxes = [...document.querySelectorAll('.brick')].map(brick => brick.getBoundingClientRect())
      const isOutside = box => box.top < wall.top - 1 || box.bottom > wall.bottom + 1
      return [Math.min(...boxes.map(box => Math.min(box.width, box.height))), boxes.filter(isOutside).length]
    })()`)
      t.equal((await page.getAttribute('#thread path', 'd'))?.match(/[ML]/g)?.length, 30)
      t.match(await page.innerText('#board-hint'), 'joins the newest 30 bricks of user-0')
      t.ok(smallest >= 2, `the smallest side of a brick is ${smallest} px`)
      t.equal(outside, 0, 'all bricks are on the wall')
    }
    t.equal(
      await page.innerText('#down'),
      'Shard 2: its master does not answer. Until a replica takes over, in some seconds, nothing can be written there. ' +
        'Shard 3: its master does not answer, and there is no replica that could take over. ' +
        'Shard 4: a replica does not answer.'
    )
    t.same(await page.locator('.shard.down').allInnerTexts(), ['2', '3'])
    t.same(await axeFindings(page), [])
  }
)
