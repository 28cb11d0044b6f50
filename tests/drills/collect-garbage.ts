// Preloaded into processes whose memory is measured: on SIGUSR2 they collect their garbage (see
// collecting.ts).
import v8 from 'node:v8'
import vm from 'node:vm'

v8.setFlagsFromString('--expose-gc')
const collect: unknown = vm.runInNewContext('gc')
process.on('SIGUSR2', () => {
  if (typeof collect === 'function') collect()
})
