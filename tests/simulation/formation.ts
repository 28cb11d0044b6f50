// The cluster at the start of a run: three masters with their replicas, each with as many slots.
import { SLOT_COUNT } from '../../src/redis/slots.js'
import { type SimulatedNode } from './node.js'
import { type World } from './world.js'

export function formCluster(world: World): void {
  const masters = world.nodes.slice(0, 3)
  for (const [index, node] of world.nodes.entries()) {
    world.network.listen(`${node.host}:${node.port}`, node)
    const master = masters[index % 3] as SimulatedNode
    for (const [other, peer] of world.nodes.entries()) {
      const isMaster = other < 3
      node.view.peers.set(peer.id, {
        id: peer.id,
        host: peer.host,
        port: peer.port,
        role: isMaster ? 'master' : 'replica',
        masterId: isMaster ? undefined : (masters[other % 3] as SimulatedNode).id,
        epoch: (other % 3) + 1,
        heardAt: 0,
        isSuspected: false,
        isFailed: false,
        failedAt: 0,
        reports: new Map()
      })
    }
    node.view.currentEpoch = 3
    if (index > 0) node.view.adoptOwners(masters[0]?.view ?? node.view)
    else {
      for (let slot = 0; slot < SLOT_COUNT; slot++) {
        node.view.setOwner(slot, masters[Math.floor((slot * 3) / SLOT_COUNT)]?.id)
      }
    }
    node.replicationId = `${master.name}@0`
  }
  for (const node of world.nodes) world.bus.start(node)
  for (const [index, node] of world.nodes.entries()) {
    if (index > 2) world.bus.attach(node, masters[index % 3] as SimulatedNode)
  }
}
