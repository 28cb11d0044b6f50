// Tokens as attackers and issuers make them: which are accepted, which are refused, and with which
// code. Nothing here needs Redis.
import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import t, { type Test } from 'tap'
import { readClaims, TokenCaller } from '../../src/identity/claims.js'
import { publicKeys, secretKeys, type Keys } from '../../src/identity/keys.js'
import { SKEW_S, TOKEN_LENGTH_MAX, Tokens } from '../../src/identity/tokens.js'
import { NO_MEMBERS } from '../support/no-members.js'

const SECRET = 'a-secret-of-more-than-thirty-two-bytes'
const nowS = (): number => Math.floor(Date.now() / 1000)
const base64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token with any header, signed by HMAC. */
function hmacToken(
  payload: object,
  { header = {}, secret = SECRET, hash = 'sha256' } = {}
): string {
  const head = `${base64({ alg: 'HS256', typ: 'JWT', ...header })}.${base64(payload)}`
  return `${head}.${createHmac(hash, secret).update(head).digest('base64url')}`
}

function rsaToken(payload: object, key: KeyObject, header: object = {}): string {
  const head = `${base64({ alg: 'RS256', ...header })}.${base64(payload)}`
  return `${head}.${sign('sha256', Buffer.from(head), key).toString('base64url')}`
}

function tokensOf(
  keys: Keys = secretKeys(SECRET),
  more: { audience?: string; issuer?: string; rememberedMax?: number } = {}
): Tokens {
  return new Tokens({
    keys,
    members: NO_MEMBERS,
    audience: '',
    issuer: '',
    rememberedMax: 10,
    ...more
  })
}

const good = (more: object = {}): object => ({
  sub: 'ann',
  exp: nowS() + 60,
  dialogs: { read: ['team-*', 'room1'], write: ['room1'] },
  ...more
})

async function refused(
  t: Test,
  token: string,
  what: string,
  { tokens = tokensOf(), code = 'UNAUTHENTICATED' } = {}
): Promise<void> {
  const error = await Promise.resolve()
    .then(() => tokens.callerOf(token))
    .then(
      () => undefined,
      (error: unknown) => error
    )
  t.match(error, { code }, what)
  const text = String((error as Error | undefined)?.message)
  t.notOk(token.length > 20 && text.includes(token.slice(0, 20)), `${what}: quotes no token`)
}

t.test('a good token names its user, and gives only the rights that it lists', async t => {
  const caller = await tokensOf().callerOf(hmacToken(good()))
  t.match(caller, { user: 'ann', isAdmin: false })
  for (const room of ['team-', 'team-a', 'room1']) t.equal(caller.mayRead(room), true, room)
  for (const room of ['team', 'Team-a', 'room', 'room11', '*', 'member', 'ｔeam-a', 'tеam-a']) {
    t.equal(caller.mayRead(room), false, room)
  }
  t.equal(caller.mayWrite('room1'), true)
  t.equal(caller.mayWrite('team-a'), false, 'the right to read is not the right to write')
  t.ok(caller.mayActAs('ann'))
  t.notOk(caller.mayActAs('bob'))
})

t.test('forged tokens are refused', async t => {
  const payload = good({ dialogs: { admin: true } })
  const real = hmacToken(payload)
  const [head = '', body = '', signature = ''] = real.split('.')
  await refused(t, hmacToken(payload, { secret: `${SECRET}x` }), 'another secret')
  await refused(t, `${head}.${body}.`, 'no signature')
  await refused(t, `${head}.${body}`, 'two parts')
  await refused(t, `${real}.`, 'four parts')
  await refused(t, `${head}.${base64(good({ sub: 'bob' }))}.${signature}`, 'a changed payload')
  await refused(t, `${head}.${body}.${signature.slice(0, -2)}`, 'a shortened signature')
  await refused(t, `${head}.${body}.${signature}AA`, 'a lengthened signature')
  await refused(t, '', 'nothing')
  await refused(t, 'x', 'a letter')
  await refused(t, '..', 'only dots')
  for (const alg of ['none', 'None', 'nOnE', 'NONE', '', 'HS1', 'HS384', 'HS512', 'RS256']) {
    await refused(t, `${base64({ alg })}.${base64(payload)}.`, `alg ${alg} unsigned`)
    await refused(t, `${base64({ alg })}.${base64(payload)}.${signature}`, `alg ${alg} signed`)
  }
  await refused(
    t,
    hmacToken(payload, { header: { alg: 'HS512' }, hash: 'sha512' }),
    'another algorithm with the right secret'
  )
  await refused(t, hmacToken(payload, { header: { crit: ['exp'], exp: 1 } }), 'an unknown crit')
  await refused(t, hmacToken(payload, { header: { crit: ['b64'], b64: false } }), 'b64: false')
})

t.test('keys that the token itself contains or names are never used', async t => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = publicKey.export({ format: 'jwk' })
  const payload = good()
  for (const header of [
    { kid: '../../dev/null' },
    { kid: "x' UNION SELECT 'key" },
    { kid: '/proc/sys/kernel/randomize_va_space' }
  ]) {
    await refused(t, hmacToken(payload, { header, secret: '' }), `kid ${header.kid}, no secret`)
  }
  for (const header of [
    { jwk },
    { jku: 'http://127.0.0.1:1/keys' },
    { x5u: 'http://127.0.0.1:1/cert' },
    { x5c: ['MIIB'] }
  ]) {
    await refused(t, rsaToken(payload, privateKey, header), `${Object.keys(header).join()}: RS256`)
    await refused(
      t,
      rsaToken(payload, privateKey, header),
      `${Object.keys(header).join()} beside a public key`,
      {
        tokens: tokensOf(
          publicKeys(String(spki(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey)))
        )
      }
    )
  }
})

const spki = (key: KeyObject): string | Buffer => key.export({ type: 'spki', format: 'pem' })

t.test('a public key is no secret: HS/RS confusion is refused', async t => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = String(spki(publicKey))
  const tokens = tokensOf(publicKeys(pem))
  t.match(await tokens.callerOf(rsaToken(good(), privateKey)), { user: 'ann' })
  for (const secret of [
    pem,
    pem.trim(),
    `${pem}\n`,
    pem.replaceAll('\n', ''),
    String(publicKey.export({ type: 'pkcs1', format: 'pem' }))
  ]) {
    await refused(t, hmacToken(good(), { secret }), 'HS256 with the public key', { tokens })
  }
  await refused(t, rsaToken(good(), privateKey, { alg: 'RS512' }), 'RS512', { tokens })
  await refused(t, rsaToken(good(), privateKey, { alg: 'PS256' }), 'PS256', { tokens })
  t.throws(() => secretKeys(pem), /AUTH_JWT_PUBLIC_KEY/, 'nor can it be set as the secret')
  t.throws(() => publicKeys(String(privateKey.export({ type: 'pkcs8', format: 'pem' }))), /public/)
})

t.test('each kind of public key has its algorithm', async t => {
  for (const [type, options, alg, hash, more] of [
    ['ec', { namedCurve: 'P-256' }, 'ES256', 'sha256', { dsaEncoding: 'ieee-p1363' }],
    ['ec', { namedCurve: 'P-384' }, 'ES384', 'sha384', { dsaEncoding: 'ieee-p1363' }],
    ['ec', { namedCurve: 'P-521' }, 'ES512', 'sha512', { dsaEncoding: 'ieee-p1363' }],
    ['ed25519', {}, 'EdDSA', null, {}]
  ] as const) {
    // Its overloads do not accept a union of types.
    const { publicKey, privateKey } = generateKeyPairSync(
      type as 'ec',
      options as { namedCurve: string }
    )
    const head = `${base64({ alg })}.${base64(good())}`
    const signature = sign(hash, Buffer.from(head), { key: privateKey, ...more } as never)
    const tokens = tokensOf(publicKeys(String(spki(publicKey))))
    t.match(
      await tokens.callerOf(`${head}.${signature.toString('base64url')}`),
      { user: 'ann' },
      alg
    )
  }
  t.throws(
    () => publicKeys(String(spki(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey))),
    /2048/
  )
  t.throws(
    () =>
      publicKeys(String(spki(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey))),
    /P-256/
  )
  t.throws(() => publicKeys('no key'), /public key/)
  t.throws(() => secretKeys('x'.repeat(31)), /32 bytes/)
  secretKeys('x'.repeat(32))
})

t.test('times are checked to the second, with a tolerance of half a minute', async t => {
  let clock = 1_800_000_000_000
  t.intercept(Date, 'now', { value: () => clock })
  const now = nowS()
  const tokens = tokensOf()
  const valid = hmacToken(good({ exp: now }))
  await tokens.callerOf(valid)
  clock = (now + SKEW_S) * 1000 - 1
  t.match(await tokens.callerOf(valid), { user: 'ann' }, 'until the tolerance is over')
  t.match(await tokensOf().callerOf(valid), { user: 'ann' }, 'also if the token is not remembered')
  clock = (now + SKEW_S) * 1000
  await refused(t, valid, 'remembered, and expired', { tokens, code: 'TOKEN_EXPIRED' })
  await refused(t, valid, 'expired', { code: 'TOKEN_EXPIRED' })
  const then = nowS()
  await refused(t, hmacToken(good({ exp: then + 99, nbf: then + SKEW_S + 1 })), 'not valid yet')
  t.match(await tokensOf().callerOf(hmacToken(good({ exp: then + 99, nbf: then + SKEW_S }))), {})
  await refused(t, hmacToken(good({ exp: undefined })), 'without an expiry')
  for (const exp of ['9999999999', null, {}, [then + 60]]) {
    await refused(t, hmacToken(good({ exp })), `exp ${JSON.stringify(exp)}`)
  }
})

t.test('audience and issuer must be the configured ones', async t => {
  const tokens = tokensOf(secretKeys(SECRET), { audience: 'dialogs', issuer: 'https://id.example' })
  const right = { aud: 'dialogs', iss: 'https://id.example' }
  t.match(await tokens.callerOf(hmacToken(good(right))), { user: 'ann' })
  t.match(await tokens.callerOf(hmacToken(good({ ...right, aud: ['x', 'dialogs'] }))), {})
  for (const wrong of [
    { aud: 'other' },
    { aud: undefined },
    { aud: ['dialogs2', 'xdialogs'] },
    { aud: { dialogs: 1 } },
    { iss: 'https://id.example/' },
    { iss: undefined },
    { iss: ['https://id.example', 'https://evil.example'] }
  ]) {
    await refused(t, hmacToken(good({ ...right, ...wrong })), JSON.stringify(wrong), { tokens })
  }
})

t.test('a token has a maximum length', async t => {
  const of = (length: number): string => {
    const empty = hmacToken(good({ pad: '' })).length
    for (let pad = Math.floor(((length - empty) * 3) / 4) - 4; ; pad++) {
      const token = hmacToken(good({ pad: 'x'.repeat(pad) }))
      if (token.length >= length) return token
    }
  }
  t.match(await tokensOf().callerOf(of(TOKEN_LENGTH_MAX - 8)), { user: 'ann' })
  await refused(t, of(TOKEN_LENGTH_MAX + 1), 'longer')
  await refused(t, hmacToken(good({ pad: 'x'.repeat(1e6) })), 'huge')
})

t.test('a token with a claim of the wrong shape is refused as a whole', async t => {
  for (const more of [
    { sub: 1 },
    { sub: '' },
    { sub: 'a{b' },
    { sub: ['ann'] },
    { dialogs: null },
    { dialogs: [] },
    { dialogs: 'admin' },
    { dialogs: { admin: 'true' } },
    { dialogs: { admin: 1 } },
    { dialogs: { read: 'room1' } },
    { dialogs: { write: [1] } },
    { dialogs: { read: { 0: 'room1' } } }
  ]) {
    await refused(t, hmacToken(good(more)), JSON.stringify(more))
  }
  const none = await tokensOf().callerOf(hmacToken(good({ dialogs: undefined })))
  t.equal(none.mayRead('room1'), false, 'without the claim there is no right')
  const proto = await tokensOf().callerOf(
    hmacToken(good({ dialogs: JSON.parse('{"__proto__": {"admin": true}}') as object }))
  )
  t.equal(proto.isAdmin, false)
})

t.test('an admin without a user acts for anybody, and with a user only for that user', async t => {
  const program = await tokensOf().callerOf(
    hmacToken(good({ sub: undefined, dialogs: { admin: true } }))
  )
  t.ok(program.mayActAs('bob'))
  t.equal(program.mayWrite('any'), true)
  const person = await tokensOf().callerOf(hmacToken(good({ dialogs: { admin: true } })))
  t.notOk(person.mayActAs('bob'))
  t.equal(person.mayRead('any'), true)
  const nobody = await tokensOf().callerOf(hmacToken(good({ sub: undefined })))
  t.notOk(nobody.mayActAs('bob'), 'without admin a token without a user writes for nobody')
})

t.test('member stands for the rooms of which the user is a member', async t => {
  const members = {
    isMember: (room: string, user: string) =>
      user === 'ann' && (room === 'in' || (room === 'later' && Promise.resolve(true))),
    onRemoved: () => undefined,
    onMissed: () => undefined
  }
  const caller = new TokenCaller(
    readClaims(good({ dialogs: { read: ['member'], write: ['x'] } }) as never),
    {
      expiresAtMs: Infinity,
      members
    }
  )
  t.equal(caller.mayRead('in'), true)
  t.equal(await caller.mayRead('later'), true)
  t.equal(caller.mayRead('out'), false)
  t.equal(caller.mayRead('member'), false, 'it is not the room of that name')
  t.equal(caller.mayWrite('in'), false, 'each list by itself')
  const nobody = new TokenCaller(readClaims({ dialogs: { read: ['member'] } }), {
    expiresAtMs: Infinity,
    members
  })
  t.equal(nobody.mayRead('in'), false, 'a caller without a name is no member')
})

t.test('a list of rooms shows last messages only for rooms that the token covers', async t => {
  const of = async (dialogs: object): Promise<TokenCaller> =>
    await tokensOf().callerOf(hmacToken(good({ dialogs })))
  const named = await of({ read: ['a', 'team-*'] })
  t.ok(named.mayReadAsMember('a'))
  t.ok(named.mayReadAsMember('team-x'))
  t.notOk(named.mayReadAsMember('b'))
  t.notOk(
    (await of({ write: ['a', 'member'] })).mayReadAsMember('a'),
    'the right to write is not the right to read'
  )
  const member = await of({ read: ['member'] })
  t.ok(member.mayReadAsMember('b'))
  t.ok((await of({ admin: true })).mayReadAsMember('b'))
  t.equal(member.readRule, (await of({ admin: true })).readRule, 'the same everywhere')
  t.equal(named.readRule, (await of({ read: ['a', 'team-*'], write: ['c'] })).readRule)
  t.not(named.readRule, (await of({ read: ['a'] })).readRule)
  t.not(named.readRule, member.readRule)
})

t.test('a limited number of verified tokens is remembered, and only good ones', async t => {
  let verified = 0
  const keys = secretKeys(SECRET)
  const counted: Keys = {
    ...keys,
    candidatesFor: header => {
      verified++
      return keys.candidatesFor(header)
    }
  }
  const tokens = tokensOf(counted, { rememberedMax: 2 })
  const [a, b, c] = ['a', 'b', 'c'].map(sub => hmacToken(good({ sub }))) as [string, string, string]
  await tokens.callerOf(a)
  t.notOk(tokens.callerOf(a) instanceof Promise, 'the second time, nothing is awaited')
  await tokens.callerOf(b)
  t.equal(verified, 2)
  t.notOk(tokens.callerOf(a) instanceof Promise, 'at the limit')
  await tokens.callerOf(c)
  await tokens.callerOf(a)
  t.equal(verified, 4, 'beyond the limit the oldest was forgotten')
  for (let n = 0; n < 10; n++) {
    await refused(t, hmacToken(good(), { secret: 'x' }), 'bad', { tokens })
  }
  t.notOk(tokens.callerOf(c) instanceof Promise, 'bad tokens displace nothing')
})

t.test('a key that goes while a token is being verified gives no right', async t => {
  let isThere = true
  const keys: Keys = {
    ...secretKeys(SECRET),
    candidatesFor: header => {
      isThere = false
      return secretKeys(SECRET).candidatesFor(header)
    },
    isCurrent: () => isThere
  }
  const tokens = tokensOf(keys)
  await refused(t, hmacToken(good()), 'its key has gone', { tokens })
  isThere = true
  await refused(t, hmacToken(good()), 'and the token is not remembered', { tokens })
})

t.test('times may be fractions, but must be numbers that a clock can reach', async t => {
  const now = nowS()
  const fraction = await tokensOf().callerOf(hmacToken(good({ exp: now + 0.5 })))
  t.equal(fraction.expiresAtMs, (now + 0.5 + SKEW_S) * 1000)
  t.match(await tokensOf().callerOf(hmacToken(good({ nbf: now + 0.5, iat: now + 9999 }))), {})
  for (const nbf of ['0', null, {}, true]) {
    await refused(t, hmacToken(good({ nbf })), `nbf ${JSON.stringify(nbf)}`)
  }
  // JSON has no Infinity, but a number that is too large becomes one.
  const head = `${base64({ alg: 'HS256' })}.${Buffer.from('{"sub":"ann","exp":1e999}').toString('base64url')}`
  const signature = createHmac('sha256', SECRET).update(head).digest('base64url')
  await refused(t, `${head}.${signature}`, 'exp 1e999')
})

t.test('a header that is not what it should be is refused', async t => {
  for (const header of [
    { alg: ['HS256'] },
    { alg: 'HS256 ' },
    { alg: null },
    { alg: { toString: 'HS256' } },
    { crit: [] },
    { crit: 'exp' },
    { crit: ['b64'] },
    { b64: false, crit: ['b64'] },
    { zip: 'DEF', crit: ['zip'] }
  ]) {
    await refused(t, hmacToken(good(), { header: header as object }), JSON.stringify(header))
  }
  for (const head of ['null', '[]', '"HS256"', '{"alg":"none","alg":"RS256"}', '{', '']) {
    const body = `${Buffer.from(head).toString('base64url')}.${base64(good())}`
    const signature = createHmac('sha256', SECRET).update(body).digest('base64url')
    await refused(t, `${body}.${signature}`, head)
  }
})

t.test('patterns match the beginning of a name literally', async t => {
  const caller = await tokensOf().callerOf(
    hmacToken(good({ dialogs: { read: ['a.c*', '[x]*', '\\*', '**', '', 'é*', 'mem*ber'] } }))
  )
  for (const room of ['a.c', 'a.cd', '[x]y', '\\', '*x', 'éa', 'mem*ber', 'a.c*']) {
    t.equal(caller.mayRead(room), true, room)
  }
  for (const room of ['abc', 'x', 'xy', 'a', 'e', 'e\u0301a', 'mem', 'member', 'memxber', '.']) {
    t.equal(caller.mayRead(room), false, room)
  }
})

t.test('writing as a member is told apart from writing by name', async t => {
  const of = async (dialogs: object): Promise<TokenCaller> =>
    await tokensOf().callerOf(hmacToken(good({ dialogs })))
  const caller = await of({ write: ['member', 'room1', 'team-*'] })
  t.equal(caller.writesAsMember('other'), true)
  t.equal(caller.writesAsMember('room1'), false)
  t.equal(caller.writesAsMember('team-a'), false)
  t.equal((await of({ write: ['member'], admin: true })).writesAsMember('other'), false)
})

t.test('a nearly correct signature takes as long as a wrong one', async t => {
  const token = hmacToken(good())
  const [head = '', body = '', signature = ''] = token.split('.')
  const bytes = Buffer.from(signature, 'base64url')
  const wrongAt = (index: number): string => {
    const wrong = Buffer.from(bytes)
    wrong[index] = (wrong[index] ?? 0) ^ 1
    return `${head}.${body}.${wrong.toString('base64url')}`
  }
  const [first, last] = [wrongAt(0), wrongAt(31)]
  const tokens = tokensOf()
  const timed = async (token: string): Promise<number> => {
    const begunAt = performance.now()
    await Promise.resolve(tokens.callerOf(token)).catch(() => undefined)
    return performance.now() - begunAt
  }
  const times: [number[], number[]] = [[], []]
  for (let n = 0; n < 1500; n++) {
    times[0].push(await timed(first))
    times[1].push(await timed(last))
  }
  const [early = NaN, late = NaN] = times.map(
    each => each.sort((a, b) => a - b)[Math.floor(each.length / 2)]
  )
  t.ok(late / early > 0.8 && late / early < 1.25, `${late / early}`)
})
