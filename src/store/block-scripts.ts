// The Lua scripts that write to a block and to the hash of changes beside it. scripts.ts has the
// rules for all scripts. Invariant: a text that was changed or deleted never comes back into its
// block.
import { script } from '../redis/script.js'
import { NEEDS_COPY, REFILL, TOUCH } from './scripts.js'

/**
 * Appends texts to a block: KEYS block, ARGV texts. Returns the id of the first entry; each
 * following id is one higher. The ids are explicit because in Redis 7.0 the clock advances during a
 * script, so that `*` could jump to the next ms (in 7.2 it stands still). Run twice, it leaves
 * entries that nothing refers to (orphans).
 */
export const APPEND = script(`
local first = redis.call('XADD', KEYS[1], '*', 't', ARGV[1])
local ms, n = string.match(first, '(%d+)-(%d+)')
for i = 2, #ARGV do redis.call('XADD', KEYS[1], ms .. string.format('-%d', n + i - 1), 't', ARGV[i]) end
return first`)

/**
 * The same in a room whose messages expire: KEYS block, ARGV ms at which the block may expire, ms
 * before which its entries may go, texts. Each call puts the expiry off, so it follows the newest
 * entry.
 */
export const APPEND_EXPIRING = script(`
local first = redis.call('XADD', KEYS[1], '*', 't', ARGV[3])
local ms, n = string.match(first, '(%d+)-(%d+)')
for i = 4, #ARGV do redis.call('XADD', KEYS[1], ms .. string.format('-%d', n + i - 3), 't', ARGV[i]) end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
return first`)

/**
 * Makes sure that a block has an entry: KEYS block, ARGV id, text. Run twice, it changes nothing.
 * Returns 1, or NEEDS_COPY if it cannot decide: the entry is missing, later entries have arrived
 * since, and something was deleted from the block, perhaps this very entry, by CHANGE. Then
 * ENSURE_BY_COPY decides.
 */
export const ENSURE = script(`${TOUCH}${REFILL}
local key, id, text = KEYS[1], ARGV[1], ARGV[2]
if #redis.call('XRANGE', key, id, id) == 1 then
  touch(key)
  return 1
end
-- Redis 7.0 does not tell whether anything was ever deleted from the block. While its slot moves, it
-- does not let the script look beside it either.
if (redis.REDIS_VERSION_NUM or 0x070200) < 0x070200 then
  local isChanged = redis.pcall('HEXISTS', 'room:' .. key .. ':changed', id)
  if isChanged ~= 0 then return '${NEEDS_COPY}' end
end
local added = redis.pcall('XADD', key, id, 't', text)
if type(added) ~= 'table' or not added.err then return 1 end
if not string.find(added.err, 'equal or smaller', 1, true) then return added end
if not canRefill(key) then return '${NEEDS_COPY}' end
local before = redis.call('XRANGE', key, '-', '(' .. id)
local after = redis.call('XRANGE', key, '(' .. id, '+')
empty(key)
for _, entry in ipairs(before) do redis.call('XADD', key, entry[1], unpack(entry[2])) end
redis.call('XADD', key, id, 't', text)
for _, entry in ipairs(after) do redis.call('XADD', key, entry[1], unpack(entry[2])) end
return 1`)

// Lua that fills an empty stream with the entries of a block. Redis remembers the highest id that
// was ever deleted from a stream, and the last id given out, and ENSURE relies on both. So this
// restores them from the changes beside the block: it adds the highest changed entry and deletes
// it.
export const FILL = `
local function fill (key, entries, changed)
  local function isBelow (a, b)
    local ams, an = string.match(a, '(%d+)-(%d+)')
    local bms, bn = string.match(b, '(%d+)-(%d+)')
    ams, an, bms, bn = tonumber(ams), tonumber(an), tonumber(bms), tonumber(bn)
    return ams < bms or ams == bms and an < bn
  end
  local highest
  for _, id in ipairs(changed) do
    if not highest or isBelow(highest, id) then highest = id end
  end
  local function delete ()
    redis.call('XADD', key, highest, 't', '')
    redis.call('XDEL', key, highest)
    highest = nil
  end
  for _, entry in ipairs(entries) do
    if highest and isBelow(highest, entry[1]) then delete() end
    redis.call('XADD', key, entry[1], unpack(entry[2]))
  end
  if highest then delete() end
end`

/**
 * As ENSURE, but writes a copy, which replaces the block when it is complete: KEYS block, copy,
 * changed, ARGV id, text. Does nothing if the message was changed, because its first text must not
 * come back. It has several keys, so it waits (TRYAGAIN) while the slot is half-moved. Run twice,
 * it changes nothing.
 */
export const ENSURE_BY_COPY = script(`${TOUCH}${FILL}
local key, copy, changed, id = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if redis.call('HEXISTS', changed, id) == 1 or #redis.call('XRANGE', key, id, id) == 1 then
  touch(key)
  touch(changed)
  return 1
end
local entries = redis.call('XRANGE', key, '-', '(' .. id)
entries[#entries + 1] = {id, {'t', ARGV[2]}}
for _, entry in ipairs(redis.call('XRANGE', key, '(' .. id, '+')) do entries[#entries + 1] = entry end
local at = redis.call('PEXPIRETIME', key)
redis.call('DEL', copy)
fill(copy, entries, redis.call('HKEYS', changed))
if at > 0 then redis.call('PEXPIREAT', copy, at) end
redis.call('RENAME', copy, key)
return 1`)

export type ChangeReply =
  /** The number of the message's last change, and its ms. */
  readonly [outcome: 'changed' | 'deleted', n: number, ms: number] | readonly [outcome: 'lost']

/**
 * Changes or deletes a message: KEYS block, changed, ARGV entry id, token, `t` or `d`, text, ms,
 * and if messages of the room expire, the ms at which `changed` may expire. The entry leaves the
 * block, and `changed` gets `<n> <ms> <token> <t or d><text>`. Both happen in one step, so no text
 * is ever in both or in none. Run twice with the same token, it changes once. Returns 'deleted' if
 * another call has deleted the message. A later change always has a later ms, whatever the clocks
 * say.
 */
export const CHANGE = script(`${TOUCH}
local key, changed, id = KEYS[1], KEYS[2], ARGV[1]
local known = redis.call('HGET', changed, id)
local n, ms = 0, tonumber(string.match(id, '%d+')) - 1
if known then
  local count, at, token, kind = string.match(known, '^(%d+) (%d+) (%S+) ([td])')
  n, ms = tonumber(count), tonumber(at)
  if token == ARGV[2] or kind == 'd' then
    redis.call('XDEL', key, id)
    touch(key)
    touch(changed)
    return {token == ARGV[2] and 'changed' or 'deleted', n, ms}
  end
elseif #redis.call('XRANGE', key, id, id) == 0 then
  return {'lost'}
end
n, ms = n + 1, math.max(ms + 1, tonumber(ARGV[5]))
redis.call('HSET', changed, id, string.format('%d %d %s %s%s', n, ms, ARGV[2], ARGV[3], ARGV[4]))
redis.call('XDEL', key, id)
if ARGV[6] then redis.call('PEXPIREAT', changed, ARGV[6]) end
return {'changed', n, ms}`)

/**
 * Removes entries from a block, and the block with its last entry: KEYS block, ARGV ids. Returns
 * how many entries existed. Run twice, it removes them once.
 */
export const REMOVE_ENTRIES = script(`
local removed = redis.call('XDEL', KEYS[1], unpack(ARGV))
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end
return removed`)
