// What the Lua scripts that run inside Redis have in common. The scripts themselves are in
// block-scripts.ts, log-scripts.ts, user-scripts.ts, dialog-scripts.ts and check-scripts.ts, and
// beside their only callers in peer-place.ts and unfinished-deletions.ts. The rules for all of
// them:
//
// - A script touches the keys of one slot only.
// - While its slot is moving, a script with a single key works on both nodes. A script with several
//   keys is answered TRYAGAIN while only some of them have moved.
// - A script may run twice; its comment says what the second run does.
//
// Redis replicates the effects of a script, not the script.
import { script } from '../redis/script.js'

/**
 * Lua that writes a key without changing it, so that a following WAIT covers everything the key
 * holds: since Redis 7.2 a WAIT covers only the writes of its own connection. This works for every
 * type and is never refused. XSETID, for example, refuses an id below the highest that was ever
 * deleted.
 */
export const TOUCH = `
local function touch (key)
  local at = redis.call('PEXPIRETIME', key)
  redis.call('PEXPIREAT', key, at > 0 and at or 9999999999999)
  if at == -1 then redis.call('PERSIST', key) end
end`

/** Writes a key without changing it: KEYS key. Returns 1 if the key exists. */
export const TOUCH_KEY = script(`${TOUCH}
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
touch(KEYS[1])
return 1`)

/**
 * The reply of a script that would have to rewrite a stream, but might not be able to complete that
 * in place.
 */
export const NEEDS_COPY = 'needs copy'

// A stream takes new entries only at its end. To insert one in the middle, a script empties the
// stream and fills it again. It must not delete the stream: a script cannot create a key in a slot
// that is moving away, and would stop half-way. A stream emptied by XTRIM still exists and accepts
// any id, unless XDEL was used on it: since Redis 7.2 ids below the highest deleted one are
// refused. To tell the two cases apart, the script tries to set the last id to 0-0 while there are
// entries and looks at the error.
export const REFILL = `
local function canRefill (key)
  local refused = redis.pcall('XSETID', key, '0-0')
  return not refused.err or string.find(refused.err, 'top item', 1, true) ~= nil
end
local function empty (key)
  redis.call('XTRIM', key, 'MAXLEN', 0)
  redis.call('XSETID', key, '0-0')
end`
