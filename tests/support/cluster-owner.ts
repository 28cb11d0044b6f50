// A process that owns an embedded cluster in the folder it is given, for tests that kill the owner. It prints the pids of the
// nodes once it is up, and stops the cluster on SIGTERM.

import { EmbeddedCluster } from '../../src/embedded/cluster.js'

const cluster = await EmbeddedCluster.start({ dataDir: process.argv[2] ?? '' })
process.once('SIGTERM', () => { cluster.stop().then(() => process.exit(0), () => process.exit(1)) })
process.stdout.write(JSON.stringify(cluster.nodes.map(node => node.pid)) + '\n')
setInterval(() => {}, 60_000)
