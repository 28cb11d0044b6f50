// The server's side of RESP2: turns bytes into commands, and replies into bytes. The service uses
// its own code for the client's side (node-redis and src/redis).

/** `+OK` and the like. */
export class Status {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** `-WORD text`. */
export class ReplyError {
  readonly message: string

  constructor(message: string) {
    this.message = message
  }
}

export type Value = string | number | null | Status | ReplyError | readonly Value[]

export const OK = new Status('OK')

export function encodeReply(value: Value): string {
  if (typeof value === 'string') return `$${Buffer.byteLength(value)}\r\n${value}\r\n`
  if (typeof value === 'number') return `:${value}\r\n`
  if (value === null) return '$-1\r\n'
  if (value instanceof Status) return `+${value.text}\r\n`
  if (value instanceof ReplyError) return `-${value.message}\r\n`
  let text = `*${value.length}\r\n`
  for (const element of value) text += encodeReply(element)
  return text
}

/**
 * Commands arrive as arrays of bulk strings
 * (https://redis.io/docs/latest/develop/reference/protocol-spec/).
 */
export class CommandParser {
  #rest: Buffer = Buffer.alloc(0)

  take(bytes: Buffer): string[][] {
    const buffer = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    const commands: string[][] = []
    let at = 0
    for (;;) {
      const parsed = parseCommand(buffer, at)
      if (parsed === undefined) break
      commands.push(parsed.args)
      at = parsed.end
    }
    this.#rest = buffer.subarray(at)
    return commands
  }
}

function parseCommand(
  buffer: Buffer,
  start: number
): { readonly args: string[]; readonly end: number } | undefined {
  const count = parseHead(buffer, start, 42)
  if (count === undefined) return undefined
  let at = count.end
  const args: string[] = []
  for (let i = 0; i < count.number; i++) {
    const length = parseHead(buffer, at, 36)
    if (length === undefined || length.end + length.number + 2 > buffer.length) return undefined
    args.push(buffer.toString('utf8', length.end, length.end + length.number))
    at = length.end + length.number + 2
  }
  return { args, end: at }
}

function parseHead(
  buffer: Buffer,
  at: number,
  kind: number
): { readonly number: number; readonly end: number } | undefined {
  if (at >= buffer.length) return undefined
  if (buffer[at] !== kind) {
    throw new Error(`A command does not begin with ${String.fromCharCode(buffer[at] ?? 0)}`)
  }
  let number = 0
  for (let i = at + 1; i < buffer.length; i++) {
    const byte = buffer[i] as number
    if (byte === 13) return i + 1 < buffer.length ? { number, end: i + 2 } : undefined
    number = 10 * number + byte - 48
  }
  return undefined
}
