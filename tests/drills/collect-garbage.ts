// Preloaded into processes whose memory is measured: SIGUSR2 collects the garbage (see collecting.ts).
import v8 from 'node:v8'
import vm from 'node:vm'

v8.setFlagsFromString('--expose-gc')
const collect: unknown = vm.runInNewContext('gc')
process.on('SIGUSR2', () => { if (typeof collect === 'function') collect() })
