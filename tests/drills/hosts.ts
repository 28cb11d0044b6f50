// Hosts with a network between them, on one machine: network namespaces (ip-netns(8)), each with an
// address of its own on a bridge. A cut drops packets silently, like a dead switch: a permanent
// neighbour entry sends them to a hardware address that nobody has. This process is outside and
// always reaches every host, so it sees both sides of a partition.
import { execFile, execFileSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { promisify } from 'node:util'
import { type NodePlace } from '../../src/embedded/redis-conf.js'

const run = promisify(execFile)

const PREFIX = 'dialogs'
const NOWHERE = '02:00:00:00:de:ad'

export class Hosts {
  readonly count: number
  readonly #bridge: string
  readonly #net: string

  private constructor(count: number, net: string) {
    this.count = count
    this.#net = net
    this.#bridge = `dl${process.pid}`
  }

  /** Why there can be no hosts here; undefined if there can. */
  static unavailable(): string | undefined {
    if (process.getuid?.() !== 0) return 'network namespaces need root'
    const probe = `${PREFIX}-${process.pid}-probe`
    try {
      execFileSync('ip', ['netns', 'add', probe], { stdio: 'pipe' })
      execFileSync('ip', ['netns', 'del', probe], { stdio: 'pipe' })
      return undefined
    } catch {
      return "there are no network namespaces (iproute2, and the kernel's permission)"
    }
  }

  static async make(count: number): Promise<Hosts> {
    removeLeft()
    const hosts = new Hosts(count, `10.${randomInt(64, 128)}.${randomInt(256)}`)
    process.once('exit', hosts.#removeAtExit)
    const bridge = hosts.#bridge
    try {
      await ip('link', 'add', bridge, 'type', 'bridge')
      await ip('addr', 'add', `${hosts.#net}.254/24`, 'dev', bridge)
      await ip('link', 'set', bridge, 'up')
      for (let host = 0; host < count; host++) {
        const name = hosts.#name(host)
        await ip('netns', 'add', name)
        await ip(
          'link',
          'add',
          `${bridge}h${host}`,
          'type',
          'veth',
          'peer',
          'name',
          'eth0',
          'netns',
          name
        )
        await ip('link', 'set', `${bridge}h${host}`, 'master', bridge, 'up')
        await ip('-n', name, 'addr', 'add', `${hosts.#address(host)}/24`, 'dev', 'eth0')
        await ip('-n', name, 'link', 'set', 'eth0', 'up')
        await ip('-n', name, 'link', 'set', 'lo', 'up')
      }
      return hosts
    } catch (error) {
      hosts.remove()
      throw error
    }
  }

  /**
   * Where a process on this host runs. Negative numbers count from the end, and large ones wrap
   * around.
   */
  at(index: number): NodePlace {
    const host = ((index % this.count) + this.count) % this.count
    return { host: this.#address(host), within: ['ip', 'netns', 'exec', this.#name(host)] }
  }

  /** The number of the host with this address. */
  indexOf(address: string): number {
    return Number(address.split('.').at(-1)) - 1
  }

  /** Drops all packets from one host to another; the other direction keeps working. */
  async cutOneWay(from: number, to: number): Promise<void> {
    await ip(
      '-n',
      this.#name(from),
      'neigh',
      'replace',
      this.#address(to),
      'lladdr',
      NOWHERE,
      'nud',
      'permanent',
      'dev',
      'eth0'
    )
  }

  async cut(one: number, other: number): Promise<void> {
    await Promise.all([this.cutOneWay(one, other), this.cutOneWay(other, one)])
  }

  /** Cuts some hosts off from all others; among themselves they stay connected. */
  async isolate(...side: readonly number[]): Promise<void> {
    const others = this.#all.filter(host => !side.includes(host))
    await Promise.all(side.flatMap(one => others.map(other => this.cut(one, other))))
  }

  /** Ends all cuts. */
  async heal(): Promise<void> {
    await Promise.all(
      this.#all.map(host =>
        ip('-n', this.#name(host), 'neigh', 'flush', 'dev', 'eth0', 'nud', 'permanent')
      )
    )
  }

  remove(): void {
    process.off('exit', this.#removeAtExit)
    this.#removeAtExit()
  }

  readonly #removeAtExit = (): void => {
    removeOf(String(process.pid), this.#bridge)
  }

  get #all(): number[] {
    return Array.from({ length: this.count }, (_, host) => host)
  }

  #name(host: number): string {
    return `${PREFIX}-${process.pid}-${host}`
  }

  #address(host: number): string {
    return `${this.#net}.${host + 1}`
  }
}

async function ip(...words: string[]): Promise<void> {
  await run('ip', words)
}

// The virtual links disappear with their namespaces.
function removeOf(pid: string, bridge: string): void {
  for (const name of names()) if (name.startsWith(`${PREFIX}-${pid}-`)) tryIp('netns', 'del', name)
  tryIp('link', 'del', bridge)
}

// Removes what a killed drill left behind.
function removeLeft(): void {
  for (const pid of new Set(names().map(name => name.split('-')[1] ?? ''))) {
    try {
      process.kill(Number(pid), 0)
    } catch {
      removeOf(pid, `dl${pid}`)
    }
  }
}

function names(): string[] {
  return execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    .split('\n')
    .map(line => line.split(' ')[0] ?? '')
    .filter(name => name.startsWith(`${PREFIX}-`))
}

function tryIp(...words: string[]): void {
  try {
    execFileSync('ip', words, { stdio: 'pipe' })
  } catch {
    // It is already gone.
  }
}
