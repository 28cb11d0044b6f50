// The SharedWorker: one exchange for all pages of this browser. A browser allows six connections to
// a service over HTTP/1.1, and a stream for each page would leave none for anything else from the
// sixth page on.
//
// A page says goodbye when it is closed. One that crashed cannot, so there is a roll call: a page
// that misses several is dropped, and a frozen one joins again when it wakes up.
import { Exchange } from './exchange.js'
import { ROLL_CALL_MS, type FromPage, type ToPage } from './wire.js'

const MISSED_MAX = 3

/** Serves every page that connects. Call it at once, or the first page is not heard. */
export function runWorker(): void {
  // The bundle is in chat/ below the service's base.
  const exchange = new Exchange(new URL('..', location.href).href)
  addEventListener('connect', event => {
    const port = event instanceof MessageEvent ? event.ports[0] : undefined
    if (port !== undefined) serve(port, exchange)
  })
}

function serve(port: MessagePort, exchange: Exchange): void {
  const send = (message: ToPage): void => port.postMessage(message)
  const reader = { send }
  let missed = 0
  const rollCall = setInterval(() => {
    if (missed++ === MISSED_MAX) {
      exchange.goodbye(reader)
      send({ type: 'dropped' })
    }
    send({ type: 'roll-call' })
  }, ROLL_CALL_MS)
  port.onmessage = ({ data }: MessageEvent<FromPage>) => {
    missed = 0
    exchange.receive(reader, data)
  }
  // Newer browsers report when the other side is gone.
  port.addEventListener('close', () => {
    clearInterval(rollCall)
    exchange.forget(reader)
  })
  send({ type: 'roll-call' })
}
