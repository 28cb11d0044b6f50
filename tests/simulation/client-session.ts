// A client's connection as its node sees it. Commands run in order; a command that waits holds up
// the ones behind it. Also keeps the connection's subscriptions.
import { slotOf } from '../../src/redis/slots.js'
import { checkArity, COMMANDS } from './commands.js'
import { type Reply, type Session } from './network.js'
import { REFUSALS, type SimulatedNode } from './node.js'
import { CommandParser, encodeReply, OK, ReplyError, Status, type Value } from './resp.js'
import { type Owner } from './virtual-time.js'
import { type World } from './world.js'

type Wait = { readonly count: number; readonly offset: number }

const SUBSCRIBING = new Set(['SSUBSCRIBE', 'SUNSUBSCRIBE', 'PING'])

export class ClientSession implements Session {
  readonly channels = new Set<string>()
  readonly #world: World
  readonly #node: SimulatedNode
  readonly #send: Reply
  readonly #end: () => void
  readonly #parser = new CommandParser()
  readonly #waiting: string[][] = []
  #wait: Wait | undefined
  #isAsking = false
  /** The node's offset after this connection's last write: what a WAIT waits for. */
  #written = 0
  #out = ''

  constructor(world: World, node: SimulatedNode, send: Reply, end: () => void) {
    this.#world = world
    this.#node = node
    this.#send = send
    this.#end = end
  }

  receive(bytes: Buffer): void {
    if (!this.#node.isRunning) return
    this.#waiting.push(...this.#parser.take(bytes))
    this.#proceed()
  }

  closed(): void {
    this.#node.sessions.delete(this)
    this.#wait = undefined
    this.#waiting.length = 0
  }

  /** The node closes the connection. */
  end(): void {
    this.closed()
    this.#end()
  }

  refuse(error: ReplyError): void {
    this.#send(Buffer.from(encodeReply(error)))
    this.end()
  }

  publish(channel: string, payload: string): void {
    this.#push(['smessage', channel, payload], client => {
      this.#world.hearing.onHeard(client, payload)
    })
  }

  endSubscriptions(slot: number): void {
    for (const channel of [...this.channels]) {
      if (slotOf(channel) !== slot) continue
      this.channels.delete(channel)
      this.#push(['sunsubscribe', channel, this.channels.size])
    }
  }

  /** The node has stopped being a master: clients that wait for its replicas get an error. */
  unblock(): void {
    if (this.#wait !== undefined) {
      this.#endWait(
        new ReplyError(
          'UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)'
        )
      )
    }
  }

  tryToEndWait(): void {
    if (this.#wait === undefined) return
    const count = this.#node.acknowledgements(this.#wait.offset)
    if (count >= this.#wait.count) this.#endWait(count)
  }

  // After the replies of this turn.
  #push(value: Value, arrived?: (client: Owner) => void): void {
    const out = this.#out + encodeReply(value)
    this.#out = ''
    this.#send(Buffer.from(out), arrived)
  }

  #endWait(value: Value): void {
    this.#wait = undefined
    this.#push(value)
    this.#proceed()
  }

  #proceed(): void {
    while (this.#wait === undefined && this.#waiting.length > 0) {
      const args = this.#waiting.shift() as string[]
      const reply = this.#answer(args)
      if (reply !== undefined) this.#out += encodeReply(reply)
    }
    const out = this.#out
    this.#out = ''
    if (out !== '') this.#send(Buffer.from(out))
  }

  /** Undefined if the reply comes later, or has already been sent. */
  #answer(args: string[]): Value | undefined {
    const name = args[0]?.toUpperCase() ?? ''
    const node = this.#node
    if (node.mood === 'loading' && name !== 'INFO' && name !== 'AUTH') return REFUSALS.loading
    if (node.mood === 'busy' && name !== 'AUTH') return REFUSALS.busy
    if (this.channels.size > 0 && !SUBSCRIBING.has(name)) {
      return new ReplyError(
        `ERR Can't execute '${name.toLowerCase()}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context`
      )
    }
    const isAsking = this.#isAsking
    this.#isAsking = false
    switch (name) {
      case 'PING':
        return this.channels.size > 0 ? ['pong', ''] : new Status('PONG')
      case 'AUTH':
        return OK
      case 'ASKING':
        this.#isAsking = true
        return OK
      case 'WAIT':
        return this.#waitFor(Number(args[1]), Number(args[2]))
      case 'INFO':
        return this.#info(args[1] ?? '')
      case 'DBSIZE':
        return node.db.values.size
      case 'CLUSTER':
        return this.#cluster(args)
      case 'SPUBLISH':
        return this.#spublish(args, isAsking)
      case 'SSUBSCRIBE':
        return this.#subscribe(args[1] ?? '', isAsking)
      case 'SUNSUBSCRIBE':
        return this.#unsubscribe(args[1] ?? '', isAsking)
    }
    return this.#execute(name, args, isAsking)
  }

  #execute(name: string, args: string[], isAsking: boolean): Value {
    const command = COMMANDS.get(name)
    const isScript = name === 'EVAL' || name === 'EVALSHA'
    if (command === undefined && !isScript) {
      throw new Error(`The command ${args.join(' ').slice(0, 80)} is not simulated`)
    }
    if (command !== undefined) {
      try {
        checkArity(name, command, args)
      } catch (error) {
        if (error instanceof ReplyError) return error
        throw error
      }
    }
    const { offset } = this.#node
    const reply = this.#node.execute(name, args, isAsking)
    if (this.#node.offset !== offset) this.#written = this.#node.offset
    return reply
  }

  // https://redis.io/commands/wait: covers this connection's writes, and works on masters only.
  #waitFor(count: number, ms: number): Value | undefined {
    const node = this.#node
    if (!node.isMaster) {
      return new ReplyError(
        'ERR WAIT cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.'
      )
    }
    const wait = { count, offset: this.#written }
    const acknowledged = node.acknowledgements(wait.offset)
    if (acknowledged >= count) return acknowledged
    this.#wait = wait
    for (const link of node.links) link.ask()
    if (ms > 0) {
      this.#world.time.after(
        ms,
        () => {
          if (this.#wait === wait) this.#endWait(node.acknowledgements(wait.offset))
        },
        node.owner
      )
    }
    return undefined
  }

  #info(section: string): Value {
    const node = this.#node
    if (section === 'memory') return 'used_memory:1000000\r\nmaxmemory_policy:noeviction\r\n'
    if (section !== 'replication') throw new Error(`INFO ${section} is not simulated`)
    if (!node.isMaster) return 'role:slave\r\nconnected_slaves:0\r\n'
    const lines = [...node.links].map((link, index) => {
      const lag =
        link.state === 'online' ? Math.floor((this.#world.time.now - link.heardAt) / 1000) : 0
      return `slave${index}:ip=${link.replica.host},port=${link.replica.port},state=${link.state === 'online' ? 'online' : 'wait_bgsave'},offset=${link.acknowledged},lag=${lag}`
    })
    return ['role:master', `connected_slaves:${lines.length}`, ...lines, ''].join('\r\n')
  }

  #cluster(args: string[]): Value {
    const what = args[1]?.toUpperCase()
    if (what === 'NODES') return this.#node.view.describe()
    if (what === 'SHARDS') return this.#node.view.shards()
    if (what === 'COUNTKEYSINSLOT') return this.#node.db.keysIn(Number(args[2])).length
    throw new Error(`CLUSTER ${what ?? ''} is not simulated`)
  }

  #spublish([, channel = '', payload = '']: string[], isAsking: boolean): Value {
    const elsewhere = this.#node.redirect([channel], isAsking, true)
    if (elsewhere !== undefined) return elsewhere
    this.#world.oracle.onPublished(channel, payload)
    let count = 0
    for (const session of this.#node.sessions) {
      if (!session.channels.has(channel)) continue
      session.publish(channel, payload)
      count++
    }
    return count
  }

  #subscribe(channel: string, isAsking: boolean): Value {
    const elsewhere = this.#node.redirect([channel], isAsking, true)
    if (elsewhere !== undefined) return elsewhere
    this.channels.add(channel)
    return ['ssubscribe', channel, this.channels.size]
  }

  #unsubscribe(channel: string, isAsking: boolean): Value {
    const elsewhere = this.#node.redirect([channel], isAsking, true)
    if (elsewhere !== undefined) return elsewhere
    this.channels.delete(channel)
    return ['sunsubscribe', channel, this.channels.size]
  }
}
