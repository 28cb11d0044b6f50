// A process that owns an embedded cluster in a given folder, for tests that kill the owner. It
// prints the process ids of the nodes once the cluster is up, and stops the cluster on SIGTERM.

import { EmbeddedCluster } from '../../src/embedded/cluster.js'

const cluster = await EmbeddedCluster.start({ dataDir: process.argv[2] ?? '' })
process.once('SIGTERM', () => {
  cluster.stop().then(
    () => process.exit(0),
    () => process.exit(1)
  )
})
process.stdout.write(JSON.stringify(cluster.nodes.map(node => node.pid)) + '\n')
setInterval(() => {}, 60_000)
