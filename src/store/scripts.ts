// The Lua that runs inside Redis. Each script touches the keys of one slot. Those of a single key
// work on both sides of a moving slot; one with several is answered TRYAGAIN while some of them
// have gone ahead. Scripts replicate by their effects (Redis 7), and may be run twice: what that
// does is said at each.
import { script } from '../redis/script.js'
import { PARTS_MARK, USERS_PARTS } from './keys.js'

/**
 * Appends texts to a block: KEYS block, ARGV texts. Answers the first entry's id; the others follow
 * it by one each, by command: the clock of Redis 7.0 goes on inside a script, so that `*` would
 * sooner or later jump to the next ms (7.2 has it stand still). Run twice, it leaves entries that
 * nothing refers to (orphans).
 */
export const APPEND = script(`
local first = redis.call('XADD', KEYS[1], '*', 't', ARGV[1])
local ms, n = string.match(first, '(%d+)-(%d+)')
for i = 2, #ARGV do redis.call('XADD', KEYS[1], ms .. string.format('-%d', n + i - 1), 't', ARGV[i]) end
return first`)

/**
 * Lua that writes a key without changing it, so that a WAIT behind it covers everything the key
 * holds: since Redis 7.2 a WAIT covers only writes of its own connection. Works for every type, and
 * cannot be refused: XSETID, for one, refuses an id below the highest that was ever deleted.
 */
const TOUCH = `
local function touch (key)
  local at = redis.call('PEXPIRETIME', key)
  redis.call('PEXPIREAT', key, at > 0 and at or 9999999999999)
  if at == -1 then redis.call('PERSIST', key) end
end`

/** Writes a key without changing it: KEYS key. Answers 1 if there is such a key. */
export const TOUCH_KEY = script(`${TOUCH}
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
touch(KEYS[1])
return 1`)

/**
 * What the scripts answer that will not write a stream anew in place, because they could not be
 * sure to complete it.
 */
export const NEEDS_COPY = 'needs copy'

// A stream takes entries at its end only. To get one into the middle it is emptied and filled
// again. It is never deleted for that: in a slot that is moving away a script cannot create a key,
// and would end half-way. Emptied by XTRIM it still exists, and takes any id again unless something
// was deleted from it by XDEL: from Redis 7.2 on, no id below the highest of those is accepted.
// Which of the two it is, the error tells that an attempt to set the last id to 0-0 gets while
// there are entries.
const REFILL = `
local function canRefill (key)
  local refused = redis.pcall('XSETID', key, '0-0')
  return not refused.err or string.find(refused.err, 'top item', 1, true) ~= nil
end
local function empty (key)
  redis.call('XTRIM', key, 'MAXLEN', 0)
  redis.call('XSETID', key, '0-0')
end`

/**
 * Makes sure that an entry is in a block: KEYS block, ARGV id, text. Run twice, it changes nothing.
 * Answers 1, or NEEDS_COPY when later entries have come since a failover took this one, and the
 * block cannot be written anew in place: then ENSURE_BY_COPY does it.
 */
export const ENSURE = script(`${TOUCH}${REFILL}
local key, id, text = KEYS[1], ARGV[1], ARGV[2]
if #redis.call('XRANGE', key, id, id) == 1 then
  touch(key)
  return 1
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

/**
 * The same by way of a copy, which takes the block's place when it is complete: KEYS block, copy,
 * ARGV id, text. Having two keys it is answered TRYAGAIN while the slot is moving, and waits. Run
 * twice, it changes nothing.
 */
export const ENSURE_BY_COPY = script(`
local key, copy, id = KEYS[1], KEYS[2], ARGV[1]
local before = redis.call('XRANGE', key, '-', '(' .. id)
local after = redis.call('XRANGE', key, '(' .. id, '+')
local at = redis.call('PEXPIRETIME', key)
redis.call('DEL', copy)
for _, entry in ipairs(before) do redis.call('XADD', copy, entry[1], unpack(entry[2])) end
redis.call('XADD', copy, id, 't', ARGV[2])
for _, entry in ipairs(after) do redis.call('XADD', copy, entry[1], unpack(entry[2])) end
if at > 0 then redis.call('PEXPIREAT', copy, at) end
redis.call('RENAME', copy, key)
return 1`)

/** Nothing was committed: the log has no entries, and it was not allowed to begin it. */
export type NoLog = readonly [outcome: 'no log']

// Counts in a room's first key, or where that says that the room is split, in the part: both only
// if it was given the part. Answers how many fields the first key has then, less than 0 when the
// room is split (Users.noteLength).
const COUNT_IN = `
local function isSplit (users)
  return redis.call('HEXISTS', users, '${PARTS_MARK}') == 1
end
local function usersLength (users, split)
  local length = redis.call('HLEN', users)
  if split then return -length end
  return length
end`

export type CommitReply =
  | NoLog
  /**
   * The first one's sequence, and 1 if there is nothing left to count; if it has counted,
   * USERS_LENGTH.
   */
  | readonly [outcome: 'committed', first: number, isCounted: 0 | 1, usersLength?: number]
  /**
   * Nothing was committed: it could not see all that came behind `after`. The log's last sequence.
   */
  | readonly [outcome: 'unseen', head: number]

/**
 * Commits a group: KEYS log and, but in a moving slot, users and perhaps the part of each user;
 * ARGV after, 1 if it may begin the log, number of users, (user, count) …, references …. All or
 * none, and contiguous. Answers a CommitReply. Run twice it commits once, in whatever order a
 * delayed first and a hasty second attempt arrive: it looks for the first reference among what came
 * behind sequence `after`, which the caller knew before its first attempt. Where it cannot see all
 * of that (the log was trimmed beyond `after`, or lost its end) it commits nothing. It looks before
 * it adds, because an entry cannot be taken back: a stream accepts no id below one that was deleted
 * from it, and the sequence would be burnt. Nearly always nothing came behind `after`, and the look
 * is one entry long.
 */
export const COMMIT = script(`${TOUCH}${COUNT_IN}
local log, floor, first = KEYS[1], '0-' .. ARGV[1], 4 + 2 * tonumber(ARGV[3])
local head = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
if not head then
  if ARGV[2] == '0' then return {'no log'} end
  if ARGV[1] ~= '0' then return {'unseen', 0} end
elseif head[1] ~= floor then
  local upper, oldest, isSeen, entries = '+', nil, false, nil
  repeat
    entries = redis.call('XREVRANGE', log, upper, floor, 'COUNT', 64)
    for _, entry in ipairs(entries) do
      oldest = entry[1]
      if oldest == floor then break end
      if entry[2][2] == ARGV[first] then
        touch(log)
        return {'committed', tonumber(string.sub(oldest, 3)), 1}
      end
    end
    isSeen = oldest == floor or ARGV[1] == '0' and oldest == '0-1'
    upper = oldest and '(' .. oldest
  until isSeen or #entries < 64
  if not isSeen then return {'unseen', tonumber(string.sub(head[1], 3))} end
end
local seq = tonumber(string.sub(redis.call('XADD', log, '0-*', 'r', ARGV[first]), 3))
for i = first + 1, #ARGV do redis.call('XADD', log, '0-*', 'r', ARGV[i]) end
if not KEYS[2] then return {'committed', seq, 0} end
local split = isSplit(KEYS[2])
for i = 4, first - 1, 2 do
  local part = split and KEYS[1 + i / 2]
  redis.call('HINCRBY', part or KEYS[2], ARGV[i], ARGV[i + 1])
end
return {'committed', seq, 1, usersLength(KEYS[2], split)}`)

export type CommitOnceReply =
  | NoLog
  /** The sequence that the key led to, and 1 if this very call committed it. */
  | readonly [outcome: 'committed', seq: number, isNewHere: 0 | 1, usersLength?: number]

/**
 * Commits one message under an idempotency key: KEYS log, once, users, the user's part, ARGV
 * reference, time to live in s, user, 1 if it may begin the log. Check and commit are one atomic
 * step. Answers a CommitOnceReply.
 */
export const COMMIT_ONCE = script(`${TOUCH}${COUNT_IN}
if ARGV[4] == '0' and redis.call('XLEN', KEYS[1]) == 0 then return {'no log'} end
local known = redis.call('GET', KEYS[2])
if known then
  touch(KEYS[1])
  return {'committed', tonumber(known), 0}
end
local seq = string.sub(redis.call('XADD', KEYS[1], '0-*', 'r', ARGV[1]), 3)
redis.call('SET', KEYS[2], seq, 'EX', ARGV[2])
local split = isSplit(KEYS[3])
redis.call('HINCRBY', split and KEYS[4] or KEYS[3], ARGV[3], 1)
return {'committed', tonumber(seq), 1, usersLength(KEYS[3], split)}`)

/**
 * Writes a sealed segment: KEYS segment, ARGV first sequence, references. Writes it whole or not at
 * all; run twice, it writes the same. A segment that holds something else is of a past that a
 * failover took back, and is replaced. Answers how many entries it has, or NEEDS_COPY when it has
 * to be replaced and that cannot be done in place: then SEAL_BY_COPY does it.
 */
export const SEAL = script(`${TOUCH}${REFILL}
local key, count = KEYS[1], #ARGV - 1
local entries = redis.call('XRANGE', key, '-', '+', 'COUNT', count + 1)
local isWritten = #entries == count
local ids = {}
for i = 1, count do
  ids[i] = string.format('0-%d', ARGV[1] + i - 1)
  isWritten = isWritten and entries[i][1] == ids[i] and entries[i][2][2] == ARGV[i + 1]
end
if isWritten then
  touch(key)
  return count
end
if redis.call('EXISTS', key) == 1 then
  if not canRefill(key) then return '${NEEDS_COPY}' end
  empty(key)
end
for i = 1, count do redis.call('XADD', key, ids[i], 'r', ARGV[i + 1]) end
return count`)

/**
 * The same by way of a copy, as ENSURE_BY_COPY: KEYS segment, copy, ARGV first sequence,
 * references.
 */
export const SEAL_BY_COPY = script(`
redis.call('DEL', KEYS[2])
for i = 2, #ARGV do redis.call('XADD', KEYS[2], string.format('0-%d', ARGV[1] + i - 2), 'r', ARGV[i]) end
redis.call('RENAME', KEYS[2], KEYS[1])
return #ARGV - 1`)

/**
 * Adds to a room's counters: KEYS users, ARGV user, count, user, count … Run twice, it counts
 * twice; `npm run check -- --repair` mends it.
 */
export const COUNT = script(`
for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1`)

/**
 * Moves users of a room from its first key to their parts, and marks the room as split: KEYS users,
 * parts …, ARGV user, which of the keys is its part, user, which … Run twice, it changes nothing: a
 * user who is not there any more has been moved.
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

/**
 * The ids of a block's entries without their texts, for `npm run check`: KEYS block, ARGV start
 * (`-`, or `(` and an id), count.
 */
export const ENTRY_IDS = script(`
local ids = {}
for i, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do ids[i] = entry[1] end
return ids`)

/**
 * Removes entries from a block, and the block with its last one: KEYS block, ARGV ids. Answers how
 * many were there.
 */
export const REMOVE_ENTRIES = script(`
local removed = redis.call('XDEL', KEYS[1], unpack(ARGV))
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end
return removed`)

/**
 * Corrects a room's counter: KEYS users, ARGV user, the count that was read, difference. Does
 * nothing where it has changed since, and so nothing when run twice; removes a counter of nothing.
 * Answers 1 if it has corrected.
 */
export const CORRECT_COUNT = script(`
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) ~= tonumber(ARGV[2]) then return 0 end
if redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[3]) == 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1`)
