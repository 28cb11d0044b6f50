// A node reads an old message of a slot's new owner after a newer one. Redis 7.0.13 to 7.0.15 and
// 7.2.0 to 7.2.3 would then lose the slot at the next failover, without an error. Nothing makes two
// connections deliver in the wrong order on command, so the test sends the old message itself.
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { Admin } from '../../src/cli/cluster/admin.js'
import { type MapNode } from '../../src/cli/cluster/map.js'
import { moveSlots } from '../../src/cli/cluster/mover.js'
import { closingMoves, isAffected } from '../../src/cli/cluster/stale-notes.js'
import { redisTarget } from '../../src/config/redis-target.js'
import { slotOf } from '../../src/redis/slots.js'
import { Operator } from '../drills/operator.js'
import { startCluster } from '../support/embedded.js'
import { until } from '../support/until.js'

t.test('the versions that keep a note for too long are known', async t => {
  const info = (version: string): string =>
    `# Server\r\nredis_version:${version}\r\nredis_git:0\r\n`
  for (const version of ['7.0.13', '7.0.15', '7.2.0', '7.2.3']) {
    t.equal(isAffected(info(version)), true, version)
  }
  for (const version of ['7.0.12', '7.2.4', '7.4.0', '8.0.13', '8.2.3', '17.0.13']) {
    t.equal(isAffected(info(version)), false, version)
  }
})

t.test(
  'for each target the last slot is one with the fewest keys, unless servers move it',
  async t => {
    const moves = [
      { slot: 1, from: 'a', to: 'b' },
      { slot: 2, from: 'a', to: 'b' },
      { slot: 3, from: 'a', to: 'b' },
      { slot: 4, from: 'a', to: 'c' },
      { slot: 5, from: 'a', to: 'd' }
    ]
    const ways = [undefined, undefined, undefined, undefined, 'valkey'] as const
    t.same([...closingMoves(moves, [1, 0, 2, 7, 0], ways)], [1, 3])
    t.same([...closingMoves([], [], [])], [])
  }
)

t.test(
  'a replica that has read an old message of its master late keeps all slots when it takes over',
  async t => {
    const cluster = await startCluster(t, { nodeTimeoutMs: 1000 })
    const operator = new Operator(cluster)
    const admin = await Admin.connect(redisTarget(cluster.urls))
    t.teardown(() => {
      admin.close()
    })
    const before = await admin.look()
    const [source, target] = before.masters
    if (source === undefined || target === undefined) throw new Error('Two masters are needed')
    const slots = before.slotsOf(source.id).slice(0, 20)
    const [slot = 0] = slots
    const key = keyIn(slot)
    await admin.ask(source, 'SET', key, 'value')

    const [replica] = before.replicasOf(target.id)
    if (replica === undefined) throw new Error('The target has no replica')
    const message = messageOf(target, before.slotsOf(target.id))
    const socket = connect(replica.address.port + BUS_OFFSET, replica.address.host)
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
    const answered = once(socket, 'data')
    let isSent = false
    await moveSlots(
      admin,
      slots.map(slot => ({ slot, from: source.id, to: target.id })),
      {
        isByKeys: true,
        onProgress: ({ slotsDone }) => {
          if (slotsDone > 0 && !isSent) isSent = socket.write(message)
        }
      }
    )
    await answered
    await operator.untilHealthy()

    const process = cluster.nodes.find(({ port }) => port === target.address.port)
    if (process === undefined) throw new Error('The target is not a node of this cluster')
    await process.kill('SIGKILL')
    await operator.untilTakenOver(slot, process)
    await process.start()
    let after = await admin.look()
    await until(
      'all nodes agree about the slots, and the old master follows its replica',
      async () => {
        after = await admin.look()
        return (
          after.disputed.length === 0 &&
          after.replicasOf(replica.id).some(({ id }) => id === target.id)
        )
      },
      20_000
    )
    t.equal(after.ownerOf(slot), replica.id)
    t.equal(await admin.ask(replica, 'GET', key), 'value')
  }
)

function keyIn(slot: number): string {
  for (let number = 0; ; number++) if (slotOf(`key${number}`) === slot) return `key${number}`
}

const BUS_OFFSET = 10_000
const MESSAGE_BYTES = 2256
const PROTOCOL_VERSION = 1
const SLOTS_AT = 80
const IS_MASTER = 2

// A PING without gossip, as `clusterMsg` in Redis' cluster.h describes it.
function messageOf({ id, address }: MapNode, slots: readonly number[]): Buffer {
  const message = Buffer.alloc(MESSAGE_BYTES)
  message.write('RCmb', 0)
  message.writeUInt32BE(MESSAGE_BYTES, 4)
  message.writeUInt16BE(PROTOCOL_VERSION, 8)
  message.writeUInt16BE(address.port, 10)
  message.write(id, 40)
  for (const slot of slots) {
    const at = SLOTS_AT + (slot >> 3)
    message.writeUInt8(message.readUInt8(at) | (1 << (slot & 7)), at)
  }
  message.write(address.host, 2168)
  message.writeUInt16BE(address.port + BUS_OFFSET, 2248)
  message.writeUInt16BE(IS_MASTER, 2250)
  return message
}
