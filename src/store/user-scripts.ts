// The Lua scripts that count the messages of a room's users. scripts.ts has the rules for all
// scripts. The scripts for joining and leaving a room are in dialog-scripts.ts.
import { script } from '../redis/script.js'
import { PARTS_MARK, USERS_PARTS } from './keys.js'

// Lua for scripts that count messages, in the room's first key of users, or in a part if the room
// is split. isMember looks into both. usersLength is what they return for Users.noteLength: how
// many fields the first key has, as a negative number if the room is split.
export const COUNT_IN = `
local function isSplit (users)
  return redis.call('HEXISTS', users, '${PARTS_MARK}') == 1
end
local function isMember (users, part, user)
  return redis.call('HEXISTS', users, user) == 1 or redis.call('HEXISTS', part, user) == 1
end
local function usersLength (users, split)
  local length = redis.call('HLEN', users)
  if split then return -length end
  return length
end`

/**
 * Adds to a room's counters: KEYS users, ARGV user, count, user, count …. Run twice, it counts
 * twice, which `npm run check -- --repair` corrects.
 */
export const COUNT = script(`
for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1`)

/**
 * Moves users from a room's first key to their parts and marks the room as split: KEYS users, parts
 * …, ARGV user, index of its part in KEYS, user, index …. Run twice, it changes nothing: a user who
 * is no longer in the first key has been moved.
 */
export const MOVE_USERS = script(`
redis.call('HSET', KEYS[1], '${PARTS_MARK}', '${USERS_PARTS}')
for i = 1, #ARGV, 2 do
  local count = redis.call('HGET', KEYS[1], ARGV[i])
  if count then
    redis.call('HINCRBY', KEYS[tonumber(ARGV[i + 1])], ARGV[i], count)
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return 1`)
