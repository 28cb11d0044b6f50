// A Socket.IO client over a WebSocket (RFC 6455; engine.io protocol 4, socket.io protocol 5) that
// only counts: it upgrades, joins the namespace, answers pings, and counts event packets. Frames
// state their length, so nothing needs to be searched. It understands only what a server sends:
// unmasked, unfragmented frames.

const HEAD_END = '\r\n\r\n'
const PING = '2'.charCodeAt(0)
const PACKET = '4'.charCodeAt(0)
const OPEN = '0'.charCodeAt(0)
const EVENT = '2'.charCodeAt(0)

export class SocketIoCounter {
  frames = 0
  isLive = false
  readonly #send: (bytes: Buffer) => void
  #isUpgraded = false
  #before = Buffer.alloc(0)
  /** How many bytes of a payload still have to be skipped. */
  #skip = 0

  constructor(send: (bytes: Buffer) => void) {
    this.#send = send
  }

  /** @throws Error when the server does not upgrade */
  push(chunk: Buffer): void {
    let bytes = this.#before.length === 0 ? chunk : Buffer.concat([this.#before, chunk])
    this.#before = Buffer.alloc(0)
    if (!this.#isUpgraded) {
      const end = bytes.indexOf(HEAD_END)
      if (end < 0) return this.#keep(bytes)
      const status = bytes.toString('latin1', 0, bytes.indexOf(13))
      if (!status.startsWith('HTTP/1.1 101')) {
        throw new Error(`The WebSocket was answered ${status.slice(9)}`)
      }
      this.#isUpgraded = true
      bytes = bytes.subarray(end + HEAD_END.length)
    }
    let at = this.#skip
    while (at < bytes.length) {
      const short = (bytes[at + 1] ?? 0) & 0x7f
      const head = short === 127 ? 10 : short === 126 ? 4 : 2
      // The first two bytes of a payload tell its kind.
      if (at + head + Math.min(2, short) > bytes.length) return this.#keep(bytes.subarray(at))
      const length =
        short === 127
          ? Number(bytes.readBigUInt64BE(at + 2))
          : short === 126
            ? bytes.readUInt16BE(at + 2)
            : short
      this.#packet(bytes[at + head] ?? 0, length < 2 ? 0 : (bytes[at + head + 1] ?? 0))
      at += head + length
    }
    this.#skip = at - bytes.length
  }

  #packet(type: number, subtype: number): void {
    if (type === PACKET && subtype === EVENT) this.frames++
    else if (type === OPEN) this.#send(clientFrame('40'))
    else if (type === PACKET && subtype === OPEN) this.isLive = true
    else if (type === PING) this.#send(clientFrame('3'))
  }

  #keep(bytes: Buffer): void {
    this.#before = Buffer.from(bytes)
    this.#skip = 0
  }
}

/** A short text frame of a client. It must be masked; a mask of zeros leaves the text as it is. */
function clientFrame(text: string): Buffer {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])
}
