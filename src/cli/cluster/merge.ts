// Merges two copies of a block, each of which may have messages that the other lacks: all of them
// end up in the importing node's copy. Entry ids come from the clocks of two nodes and differ, so
// the copies interleave, and every reference still finds its entry. Invariant: the owner's copy is
// deleted only when the importing node and a replica of it have all of it. Clients go to the owner
// while it has the key, so its copy may grow in the meantime; it is deleted only if it has not
// changed since it was read. A message that either node knows to be changed comes back in neither
// copy. Of the changes beside the block, the later one of each message is kept.
import { type Reply } from '../../redis/connection.js'
import { messageOf } from '../../errors.js'
import { changedKey, parseKey } from '../../store/keys.js'
import { FILL } from '../../store/block-scripts.js'
import { type Admin } from './admin.js'
import { type MapNode, nodeText } from './map.js'

type BlockEntry = readonly [id: string, fields: readonly [string, string]]

const ROUNDS_MAX = 20

// KEYS block. Returns a digest of the copy, when it expires, and its entries.
const READ = `
local at = string.format('%d', redis.call('PEXPIRETIME', KEYS[1]))
return {redis.sha1hex(redis.call('DUMP', KEYS[1])), at, redis.call('XRANGE', KEYS[1], '-', '+')}`

// Lua that gives a key the later expiry of both copies, or none if one of them has none.
const KEEP_LATER = `
local function keepLater (key, at, other)
  if at < 0 or other == -1 then
    redis.call('PERSIST', key)
  else
    redis.call('PEXPIREAT', key, string.format('%d', math.max(at, other)))
  end
end`

// KEYS block, ARGV when the other copy expires, how many messages were changed, their ids, id,
// text, id, text … of the other copy. The block gets the later expiry. Rewrites the block in one
// step if it lacks one of them, or has a changed one. Returns how many entries it has then. After
// ASKING, the script may create keys in a slot that is being imported; it tests that with a key
// that does not exist before it deletes what it must rewrite.
const MERGE = `${FILL}${KEEP_LATER}
local missing = redis.pcall('EXISTS', KEYS[1] .. ':probe')
if type(missing) == 'table' then return missing end
local entries, known, added = redis.call('XRANGE', KEYS[1], '-', '+'), {}, 0
for _, entry in ipairs(entries) do known[entry[1]] = true end
local gone, firstEntry = {}, tonumber(ARGV[2]) + 3
for i = 3, firstEntry - 1 do gone[ARGV[i]] = true end
local kept = {}
for _, entry in ipairs(entries) do
  if gone[entry[1]] then added = added + 1 else kept[#kept + 1] = entry end
end
entries = kept
for i = firstEntry, #ARGV, 2 do
  if not known[ARGV[i]] and not gone[ARGV[i]] then
    entries[#entries + 1] = {ARGV[i], {'t', ARGV[i + 1]}}
    added = added + 1
  end
end
local at = redis.call('PEXPIRETIME', KEYS[1])
if added == 0 then
  if #entries > 0 then keepLater(KEYS[1], at, tonumber(ARGV[1])) end
  return #entries
end
local function parts (id)
  local ms, n = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(n)
end
table.sort(entries, function (a, b)
  local ams, an = parts(a[1])
  local bms, bn = parts(b[1])
  return ams < bms or (ams == bms and an < bn)
end)
redis.call('DEL', KEYS[1])
local changed = {}
for id in pairs(gone) do changed[#changed + 1] = id end
fill(KEYS[1], entries, changed)
keepLater(KEYS[1], at, tonumber(ARGV[1]))
return #entries`

// KEYS block, ARGV digest. Deletes the copy if it is still the one that was read. Returns whether
// it did.
const DROP = `
if redis.sha1hex(redis.call('DUMP', KEYS[1])) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`

export const isBlock = (key: string): boolean => parseKey(key)?.kind === 'block'

/**
 * Gives the importing node what only the owner's copy of a block has, and deletes the owner's copy.
 * May be repeated.
 * @param replicated resolves when a replica of the importing node has what it was given
 * @returns how many messages the owner lacked
 */
export async function mergeBlock(
  admin: Admin,
  owner: MapNode,
  importing: MapNode,
  key: string,
  replicated: () => Promise<void>
): Promise<number> {
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const [digest, expiresAt, entries] = (await admin.ask(
      owner,
      'EVAL',
      READ,
      '1',
      key
    )) as readonly [string, string, readonly BlockEntry[]]
    const changed = [
      ...new Set([
        ...(await idsIn(admin, owner, changedKey(key))),
        ...(await idsIn(admin, importing, changedKey(key)))
      ])
    ]
    const flat = entries.flatMap(([id, [, text]]) => [id, text])
    const [, count]: Reply[] = await admin.askAll(importing, [
      ['ASKING'],
      ['EVAL', MERGE, '1', key, expiresAt, String(changed.length), ...changed, ...flat]
    ])
    await replicated()
    if ((await admin.ask(owner, 'EVAL', DROP, '1', key, digest)) === 1) {
      return Number(count) - entries.length
    }
  }
  throw new Error(`${key} on ${nodeText(owner)} is written to all the time`)
}

// KEYS changed, ARGV when the other copy expires, id, value, id, value … of it, as CHANGE writes
// them.
const MERGE_CHANGED = `${KEEP_LATER}
local at = redis.call('PEXPIRETIME', KEYS[1])
local function numberOf (value) return value and tonumber(string.match(value, '^%d+')) or 0 end
for i = 2, #ARGV, 2 do
  if numberOf(redis.call('HGET', KEYS[1], ARGV[i])) < numberOf(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
keepLater(KEYS[1], at == -2 and tonumber(ARGV[1]) or at, tonumber(ARGV[1]))
return redis.call('HLEN', KEYS[1])`

const READ_CHANGED = `
local at = string.format('%d', redis.call('PEXPIRETIME', KEYS[1]))
return {redis.sha1hex(redis.call('DUMP', KEYS[1])), at, redis.call('HGETALL', KEYS[1])}`

export const isChanged = (key: string): boolean => parseKey(key)?.kind === 'changed'

/** The same for the changes beside a block. @returns how many messages are changed then */
export async function mergeChanged(
  admin: Admin,
  owner: MapNode,
  importing: MapNode,
  key: string,
  replicated: () => Promise<void>
): Promise<number> {
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const [digest, expiresAt, flat] = (await admin.ask(
      owner,
      'EVAL',
      READ_CHANGED,
      '1',
      key
    )) as readonly [string, string, readonly string[]]
    const [, count]: Reply[] = await admin.askAll(importing, [
      ['ASKING'],
      ['EVAL', MERGE_CHANGED, '1', key, expiresAt, ...flat]
    ])
    await replicated()
    if ((await admin.ask(owner, 'EVAL', DROP, '1', key, digest)) === 1) return Number(count)
  }
  throw new Error(`${key} on ${nodeText(owner)} is written to all the time`)
}

// A node that does not have the key, but knows which node may have it, answers with a redirection.
async function idsIn(admin: Admin, node: MapNode, key: string): Promise<readonly string[]> {
  try {
    const [, ids]: Reply[] = await admin.askAll(node, [['ASKING'], ['HKEYS', key]])
    // HKEYS answers a list of fields.
    return ids as readonly string[]
  } catch (error) {
    if (/^(ASK|MOVED) /.test(messageOf(error))) return []
    throw error
  }
}
