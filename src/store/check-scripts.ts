// The Lua scripts of `npm run check`. scripts.ts has the rules for all scripts. These return ids
// and times, never texts: a check does not need them, and they make up nearly all of a block.
import { script } from '../redis/script.js'

/**
 * The ids of a block's entries without their texts, for `npm run check`: KEYS block, ARGV start
 * (`-`, or `(` and an id), count.
 */
export const ENTRY_IDS = script(`
local ids = {}
for i, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do ids[i] = entry[1] end
return ids`)

/**
 * Corrects a room's counter: KEYS users, ARGV user, the count that was read, difference. Does
 * nothing if the counter has changed since, so running it twice does no harm. A counter of 0 stays:
 * its user is a member. Returns 1 if it has corrected the counter.
 */
export const CORRECT_COUNT = script(`
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) ~= tonumber(ARGV[2]) then return 0 end
redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[3])
return 1`)

/**
 * The changes beside a block without their texts, for `npm run check`: KEYS changed. Returns id, n,
 * ms, `t` or `d`, id …
 */
export const CHANGE_MARKS = script(`
local marks, flat = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
  local n, ms, kind = string.match(flat[i + 1], '^(%d+) (%d+) %S+ ([td])')
  for _, part in ipairs({flat[i], n, ms, kind}) do marks[#marks + 1] = part end
end
return marks`)

/**
 * Finds a message that is still in its block although it was changed: KEYS block, changed, ARGV
 * entry id, 1 to remove it from the block. Returns 1 if it is in both. Run twice, the second run
 * finds nothing.
 */
export const REMOVE_CHANGED = script(`
local isBoth = redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 and #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 1
if isBoth and ARGV[2] == '1' then redis.call('XDEL', KEYS[1], ARGV[1]) end
return isBoth and 1 or 0`)
