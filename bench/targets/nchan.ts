// Nchan, the publish-and-subscribe module of nginx, with the same Redis Cluster for storage. It
// gets the same paths and POSTs as the service, and stores and sends the bodies as they are. nginx
// has one worker for each processor, as its documentation advises. Nchan is installed if the system
// has a package for it. Otherwise the figures that need it are left out, and the tables say why.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../src/errors.js'
import { freePorts } from '../../src/embedded/ports.js'
import { type Missing, type Target } from './target.js'

const NAME = 'Nchan with Redis'
const START_MS_MAX = 10_000

type Tools = {
  ensureTools: (names: readonly string[]) => Promise<void>
  nginxModule: (name: string) => string | undefined
}
// This file is dist/bench/targets/nchan.js when it runs.
const TOOLS = new URL('../../../compose/setup/tools.mjs', import.meta.url)

// A user's PATH often lacks the system folders where Debian puts nginx.
const ENV = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin` }

/** @param mayInstall whether the system's package manager may install it if it is missing */
export async function startNchan(
  redisUrls: readonly string[],
  mayInstall: boolean
): Promise<Target | Missing> {
  try {
    // The set-up is plain JavaScript, because it runs before anything is built.
    const { ensureTools, nginxModule } = (await import(TOOLS.href)) as Tools
    if (mayInstall) await ensureTools(['nchan'])
    const module = nginxModule('ngx_nchan_module.so')
    if (module === undefined) {
      return { name: NAME, why: 'nginx with its module Nchan is not installed' }
    }
    return await start(module, redisUrls)
  } catch (error) {
    return { name: NAME, why: messageOf(error) }
  }
}

async function start(module: string, redisUrls: readonly string[]): Promise<Target> {
  const folder = mkdtempSync(join(tmpdir(), 'dialogs-nchan-'))
  const [port] = await freePorts(1)
  writeFileSync(join(folder, 'nginx.conf'), nginxConf(module, port ?? 0, redisUrls))
  const nginx = spawn('nginx', ['-e', 'stderr', '-p', folder, '-c', 'nginx.conf'], {
    env: ENV,
    stdio: ['ignore', 'ignore', 'pipe']
  })
  let errors = ''
  nginx.stderr.on('data', chunk => {
    errors = (errors + String(chunk)).slice(-4096)
  })
  const endAtExit = (): void => {
    nginx.kill('SIGTERM')
    rmSync(folder, { recursive: true, force: true })
  }
  process.once('exit', endAtExit)
  const stop = async (): Promise<void> => {
    await end(nginx)
    process.off('exit', endAtExit)
    rmSync(folder, { recursive: true, force: true })
  }
  const url = `http://127.0.0.1:${port}`
  try {
    await untilItStores(url, nginx)
  } catch (error) {
    await stop()
    throw new Error(`${messageOf(error)}: ${errors.trim().split('\n').at(-1) ?? ''}`, {
      cause: error
    })
  }
  return {
    name: NAME,
    url,
    pid: undefined, // several workers
    stream: room => ({ kind: 'sse', path: `/rooms/${room}/events`, otherFrames: 1 }), // the first frame is a comment
    stop
  }
}

// Nchan answers 5xx until it knows the cluster.
async function untilItStores(url: string, nginx: ChildProcess): Promise<void> {
  const deadline = performance.now() + START_MS_MAX
  for (;;) {
    const status = await fetch(`${url}/rooms/bench-start/messages`, {
      method: 'POST',
      body: 'hello'
    }).then(
      answer => answer.status,
      () => undefined
    )
    if (status !== undefined && status < 300) return
    if (nginx.exitCode !== null) throw new Error('nginx did not start')
    if (performance.now() > deadline) {
      throw new Error(`Nchan does not store messages, it answers ${status}`)
    }
    await sleep(50)
  }
}

async function end(nginx: ChildProcess): Promise<void> {
  if (nginx.exitCode !== null || nginx.signalCode !== null) return
  const ended = once(nginx, 'exit')
  nginx.kill('SIGTERM')
  await ended
}

function nginxConf(module: string, port: number, redisUrls: readonly string[]): string {
  return `
    daemon off;
    pid nginx.pid;
    error_log stderr error;
    worker_processes auto;
    worker_rlimit_nofile 20000;
    load_module ${module};
    events { worker_connections 16384; }
    http {
      access_log off;
      client_body_buffer_size 64k;
      client_body_temp_path temp-body;
      proxy_temp_path temp-proxy;
      fastcgi_temp_path temp-fastcgi;
      uwsgi_temp_path temp-uwsgi;
      scgi_temp_path temp-scgi;
      keepalive_requests 1000000000; # its own default would make clients connect anew
      nchan_shared_memory_size 512m;
      upstream redis {
        ${redisUrls.map(url => `nchan_redis_server ${url};`).join('\n        ')}
      }
      server {
        listen 127.0.0.1:${port} backlog=4096;
        location ~ ^/rooms/([^/]+)/messages$ {
          nchan_publisher;
          nchan_channel_id $1;
          nchan_redis_pass redis;
          nchan_message_buffer_length 1000;
          nchan_message_timeout 1h;
        }
        location ~ ^/rooms/([^/]+)/events$ {
          nchan_subscriber eventsource;
          nchan_channel_id $1;
          nchan_redis_pass redis;
          nchan_subscriber_first_message newest;
        }
      }
    }
`
}
