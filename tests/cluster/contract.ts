// /openapi.json is valid and describes every route, clients generated from it work, and a fuzzer
// finds no answer that it does not describe. The tools come from PyPI and npm. Where these cannot
// be reached, the parts that need them are skipped with the reason.
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { STATUS } from '../../src/errors.js'
import { freshRoom, post, request } from '../support/client.js'
import { startCluster, temporaryDir } from '../support/embedded.js'
import { startService } from '../support/service.js'

const run = promisify(execFile)
const cluster = await startCluster(t)
const { url } = await startService(t, { redisNodes: cluster.urls })
const dir = temporaryDir(t)
const file = join(dir, 'openapi.json')
const { body: api } = await request(`${url}/openapi.json`)
writeFileSync(file, JSON.stringify(api))

/** Runs a tool. If it fails, the error contains its output. */
async function tool(command: string, ...args: string[]): Promise<string> {
  try {
    const { stdout, stderr } = await run(command, args, {
      cwd: dir,
      maxBuffer: 1e8,
      timeout: 300_000,
      env: { ...process.env, PATH: `${join(dir, 'python/bin')}:${process.env['PATH']}` }
    })
    return stdout + stderr
  } catch (error) {
    const { stdout, stderr } = error as { readonly stdout?: string; readonly stderr?: string }
    throw new Error(`${command} ${args.join(' ')}:\n${stdout ?? String(error)}${stderr ?? ''}`)
  }
}

const python = join(dir, 'python/bin')
function installPython(): string | undefined {
  try {
    execFileSync('python3', ['-m', 'venv', join(dir, 'python')], { stdio: 'pipe' })
    execFileSync(
      join(python, 'pip'),
      [
        'install',
        '--quiet',
        'openapi-spec-validator==0.9.0',
        'openapi-python-client==0.29.1',
        'schemathesis==4.32.5'
      ],
      { stdio: 'pipe', timeout: 300_000 }
    )
    return undefined
  } catch {
    return 'python3 with venv, or PyPI, is not here'
  }
}
const noPython = installPython()

function installNpm(): string | undefined {
  try {
    execFileSync(
      'npm',
      [
        'install',
        '--silent',
        '--no-audit',
        '--no-fund',
        '--prefix',
        join(dir, 'npm'),
        '@redocly/cli@2.14.3',
        'openapi-typescript@7.13.0',
        'openapi-fetch@0.17.0',
        'typescript@5.9.3'
      ],
      { stdio: 'pipe', timeout: 300_000 }
    )
    return undefined
  } catch {
    return 'the tools cannot be installed from npm here'
  }
}
const noNpm = installNpm()
const npmTool = (name: string, ...args: string[]): Promise<string> =>
  tool(join(dir, 'npm/node_modules/.bin', name), ...args)

t.test('every route is described, with its parameters and all statuses', async t => {
  t.match(api, { openapi: '3.1.0', servers: [{ url: '/' }] })
  const { paths } = api as {
    readonly paths: Record<
      string,
      Record<string, { readonly operationId: string; readonly responses: object }>
    >
  }
  t.strictSame(
    Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations).map(
        ([method, { operationId, responses }]) =>
          `${method} ${path} ${operationId} ${Object.keys(responses).join(' ')}`
      )
    ),
    [
      'get /health/live isAlive 200 400 408 414 417 421 431 500 503',
      'get /health/ready isReady 200 400 408 414 417 421 431 500 503',
      'post /tickets makeTicket 201 400 401 403 404 408 413 414 415 417 421 429 431 500 503',
      'post /rooms/{room}/messages writeMessage 200 201 400 401 403 408 409 410 413 414 415 417 421 429 431 500 503',
      'get /rooms/{room}/messages readMessages 200 400 401 403 408 414 417 421 429 431 500 503',
      'get /rooms/{room}/messages/{seq} readMessage 200 400 401 403 404 408 410 414 417 421 429 431 500 503',
      'patch /rooms/{room}/messages/{seq} changeMessage 200 400 401 403 404 408 409 410 413 414 415 417 421 429 431 500 503',
      'delete /rooms/{room}/messages/{seq} deleteMessage 200 400 401 403 404 408 409 410 413 414 415 417 421 429 431 500 503',
      'get /rooms/{room}/users listUsers 200 400 401 403 408 414 417 421 429 431 500 503',
      'delete /rooms/{room} deleteRoom 200 400 401 403 404 408 413 414 415 417 421 429 431 500 503',
      'get /rooms/{room}/blocks listBlocks 200 400 401 403 408 414 417 421 429 431 500 503',
      'put /rooms/{room}/users/{user} addMember 200 201 400 401 403 408 409 413 414 415 417 421 429 431 500 503',
      'delete /rooms/{room}/users/{user} removeMember 200 400 401 403 408 413 414 415 417 421 429 431 500 503',
      'put /rooms/{room}/users/{user}/read markRead 200 400 401 403 404 408 413 414 415 417 421 429 431 500 503',
      'get /users/{user}/rooms listDialogs 200 400 401 403 408 414 417 421 429 431 500 503',
      'post /rooms/{room}/signals sendSignal 204 400 401 403 408 413 414 415 417 421 429 431 500 503',
      'get /metrics readMetrics 200 400 401 403 408 414 417 421 429 431 500 503',
      'get /rooms/{room}/events followRoom 200 400 401 403 408 414 417 421 429 431 500 503',
      'get /events followRooms 200 400 401 403 408 414 417 421 429 431 500 503',
      'get /users/{user}/events followDialogs 200 400 401 403 408 414 417 421 429 431 500 503',
      'get /cluster readCluster 200 302 400 401 403 408 414 417 421 429 431 500 503',
      'get /cluster/events followCluster 200 400 401 403 408 414 417 421 429 431 500 503'
    ].flatMap(line => [
      line,
      ...(line.startsWith('get ')
        ? [
            line.replace(
              /^get (\S+) (\w)/,
              (_, path: string, letter: string) => `head ${path} head${letter.toUpperCase()}`
            )
          ]
        : [])
    ])
  )
  t.match(api['components'], {
    schemas: {
      Name: { minLength: 1, maxLength: 64 },
      Text: { maxLength: 4096 },
      Error: { properties: { code: { enum: Object.keys(STATUS) } } }
    },
    responses: { E503: { headers: { 'Retry-After': {} } } }
  })
  for (const header of [
    'Idempotency-Key',
    'Last-Event-ID',
    'Location',
    'text/event-stream',
    '"type":"integer","minimum":1,"maximum":1000'
  ]) {
    t.ok(JSON.stringify(api).includes(header), header)
  }
})

t.test('openapi-spec-validator finds it valid', { skip: noPython ?? false }, async t => {
  t.match(await tool(join(python, 'openapi-spec-validator'), file), /OK/)
})

t.test('redocly finds it valid', { skip: noNpm ?? false }, async t => {
  t.match(await npmTool('redocly', 'lint', file), /Your API description is valid/)
})

t.test(
  'a client of openapi-python-client posts, reads a page and the users',
  { skip: noPython ?? false },
  async t => {
    const said = await tool(
      join(python, 'openapi-python-client'),
      'generate',
      '--path',
      file,
      '--output-path',
      join(dir, 'client'),
      '--meta',
      'none',
      '--overwrite'
    )
    t.notMatch(said, /WARNING|Error/, 'nothing is left out')
    writeFileSync(
      join(dir, 'try.py'),
      `
from client import Client
from client.api.messages import write_message, read_messages, read_message, head_read_messages
from client.api.rooms import list_users
from client.models import NewMessage
client = Client(base_url="${url}")
made = write_message.sync_detailed("pythons", client=client, body=NewMessage(user="ann", text="hello"), idempotency_key="k1")
assert made.status_code == 201 and made.headers["location"] == "/rooms/pythons/messages/1", made
assert write_message.sync_detailed("pythons", client=client, body=NewMessage(user="ann", text="hello"), idempotency_key="k1").status_code == 200
assert read_messages.sync("pythons", client=client, limit=10).messages[0].text == "hello"
assert head_read_messages.sync_detailed("pythons", client=client).status_code == 200
assert read_message.sync("pythons", 1, client=client).seq == 1
assert list_users.sync("pythons", client=client).users[0].user == "ann"
refused = write_message.sync("a{", client=client, body=NewMessage(user="ann", text="hello"))
assert refused.code == "INVALID_NAME", refused
print("all well")
`
    )
    t.match(await tool(join(python, 'python'), 'try.py'), /all well/)
  }
)

t.test(
  'the types of openapi-typescript compile, and its client works with them',
  { skip: noNpm ?? false },
  async t => {
    await npmTool('openapi-typescript', file, '-o', join(dir, 'npm/api.d.ts'))
    writeFileSync(
      join(dir, 'npm/try.ts'),
      `
import createClient from 'openapi-fetch'
import type { paths, components } from './api.js'
const client = createClient<paths>({ baseUrl: '${url}' })
const code: components['schemas']['Error']['code'] = 'INVALID_NAME'
const { data } = await client.POST('/rooms/{room}/messages', { params: { path: { room: 'types' } }, body: { user: 'ann', text: 'hello' } })
const page = await client.GET('/rooms/{room}/messages', { params: { path: { room: 'types' }, query: { limit: 10 } } })
const users = await client.GET('/rooms/{room}/users', { params: { path: { room: 'types' } } })
// @ts-expect-error a number is not a text
const { error } = await client.POST('/rooms/{room}/messages', { params: { path: { room: '{' } }, body: { user: 'ann', text: 1 } })
const { error: named } = await client.POST('/rooms/{room}/messages', { params: { path: { room: '{' } }, body: { user: 'ann', text: 'x' } })
const seq: number | undefined = data?.seq
console.log(JSON.stringify([seq, page.data?.messages.length, users.data?.users[0]?.user, error?.code, named?.code === code]))
`
    )
    writeFileSync(join(dir, 'npm/package.json'), '{"type":"module"}')
    await npmTool(
      'tsc',
      '--strict',
      '--target',
      'es2022',
      '--module',
      'nodenext',
      '--lib',
      'es2022,dom',
      '--skipLibCheck',
      join(dir, 'npm/try.ts')
    )
    t.ok(existsSync(join(dir, 'npm/try.js')))
    t.equal(
      (await tool(process.execPath, join(dir, 'npm/try.js'))).trim(),
      '[1,1,"ann","INVALID_BODY",true]'
    )
  }
)

t.test(
  'schemathesis finds no answer that is not described',
  { skip: noPython ?? false },
  async t => {
    for (const text of ['1', '2', '3']) await post(url, freshRoom(), 'ann', text)
    // Streams do not end, so they are left out. The fuzzer cannot know some rules (for example,
    // whether a name is in NFC), so what should be accepted is not checked.
    const said = await tool(
      join(python, 'schemathesis'),
      'run',
      file,
      '--url',
      url,
      '--exclude-path-regex',
      'events$',
      '--max-examples',
      '50',
      '--request-timeout',
      '10',
      '--no-color',
      '--checks',
      'not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method'
    )
    t.match(said, /No issues found|passed/i)
    t.notMatch(said, /FAILURES/)
  }
)
