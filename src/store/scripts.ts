// The Lua scripts that run inside Redis. Each touches the keys of one slot only. A script with a
// single key works on both sides of a moving slot; a script with several keys is answered TRYAGAIN
// while only some of them have moved. Redis replicates the effects of a script. A script may run
// twice, and each comment says what that does.
import { script } from '../redis/script.js'
import { PARTS_MARK, USERS_PARTS } from './keys.js'

/**
 * Appends texts to a block: KEYS block, ARGV texts. Returns the id of the first entry; each
 * following id is one higher. The ids are explicit because in Redis 7.0 the clock advances during a
 * script, and `*` could jump to the next ms (in 7.2 it stands still). Run twice, it leaves entries
 * that nothing refers to (orphans).
 */
export const APPEND = script(`
local first = redis.call('XADD', KEYS[1], '*', 't', ARGV[1])
local ms, n = string.match(first, '(%d+)-(%d+)')
for i = 2, #ARGV do redis.call('XADD', KEYS[1], ms .. string.format('-%d', n + i - 1), 't', ARGV[i]) end
return first`)

/**
 * The same in a room that does not keep its messages: KEYS block, ARGV ms at which the block may
 * expire, ms before which its entries may go, texts. The expiry follows the newest entry.
 */
export const APPEND_EXPIRING = script(`
local first = redis.call('XADD', KEYS[1], '*', 't', ARGV[3])
local ms, n = string.match(first, '(%d+)-(%d+)')
for i = 4, #ARGV do redis.call('XADD', KEYS[1], ms .. string.format('-%d', n + i - 3), 't', ARGV[i]) end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
return first`)

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
 * The reply of a script that has to rewrite a stream and cannot be sure to complete that in place.
 */
export const NEEDS_COPY = 'needs copy'

// A stream takes new entries only at its end. To insert one in the middle, a script empties the
// stream and fills it again. It must not delete the stream: a script cannot create a key in a slot
// that is moving away, and would stop half-way. A stream emptied by XTRIM still exists and accepts
// any id, unless XDEL was used on it: since Redis 7.2 ids below the highest deleted one are
// refused. To tell the two cases apart, the script tries to set the last id to 0-0 while there are
// entries and looks at the error.
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
 * Makes sure that a block has an entry: KEYS block, ARGV id, text. Run twice, it changes nothing.
 * Returns 1. Returns NEEDS_COPY if the entry is missing, later entries have arrived since, and
 * something was deleted from the block: perhaps this entry, by CHANGE. ENSURE_BY_COPY decides then.
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

// Redis remembers the highest id that was ever deleted from a stream, and the last one given out.
// ENSURE relies on that: a stream that is written anew gets both back from the changes beside it.
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
 * The same by way of a copy, which replaces the block when it is complete: KEYS block, copy,
 * changed, ARGV id, text. Does nothing for a message that was changed: its text must not come back.
 * It has several keys, so it waits (TRYAGAIN) while the slot is moving. Run twice, it changes
 * nothing.
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
  /** What stands there now: the number of the change and its ms. */
  readonly [outcome: 'changed' | 'deleted', n: number, ms: number] | readonly [outcome: 'lost']

/**
 * Changes or deletes a message: KEYS block, changed, ARGV entry id, token, `t` or `d`, text, ms,
 * and where messages are not kept the ms at which what stands beside the block may expire. The
 * entry leaves the block, and `changed` gets `<n> <ms> <token> <t or d><text>`: in one step, so
 * that no text is in both or in none. Run twice with one token, it changes once. Answers 'deleted'
 * where another call had deleted the message; the time never stands still or goes back.
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

/** Nothing was committed: the log has no entries, and the script was not allowed to start it. */
export type NoLog = readonly [outcome: 'no log']

// Counts messages in the room's first key of users, or in a part if the room is split. The reply of
// a commit says how many fields the first key has, as a negative number if the room is split
// (Users.noteLength).
export const COUNT_IN = `
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
   * The sequence of the first message; 1 if nothing is left to count; the length of the first key
   * of users if this run has counted.
   */
  | readonly [outcome: 'committed', first: number, isCounted: 0 | 1, usersLength?: number]
  /**
   * Nothing was committed, because the script could not see everything after `after`. The log's
   * last sequence.
   */
  | readonly [outcome: 'unseen', head: number]

/**
 * Commits a group, all of it or nothing, with consecutive sequences. KEYS log and, except in a
 * moving slot, users and perhaps the part of each user. ARGV after, 1 if it may start the log,
 * number of users, (user, count) …, references …. Returns a CommitReply.
 *
 * Run twice, it commits once, even if a delayed first attempt arrives after the second one: it
 * searches for the first reference among the entries after sequence `after`, which the caller knew
 * before its first attempt. If it cannot see all of these entries (the log was trimmed beyond
 * `after`, or has lost its end), it commits nothing. It searches before it adds, because an added
 * entry cannot be taken back: a stream accepts no id below a deleted one, so the sequence would be
 * lost. Nearly always there is nothing after `after`, and the search looks at one entry.
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

/**
 * Nothing was committed: the room was deleted, and the reference is to a block of another
 * generation.
 */
export type OtherGeneration = readonly [outcome: 'other generation']

export type CommitOnceReply =
  | NoLog
  | OtherGeneration
  /** The sequence that the key belongs to, and 1 if this very call committed it. */
  | readonly [outcome: 'committed', seq: number, isNewHere: 0 | 1, usersLength?: number]

/**
 * Commits one message under an idempotency key: KEYS log, once, users, the user's part, deleted,
 * ARGV reference, time to live in s, user (empty: nobody is counted), 1 if it may start the log,
 * the generation of the reference. The check and the commit are one atomic step. Returns a
 * CommitOnceReply. Run twice, it commits once.
 */
export const COMMIT_ONCE = script(`${TOUCH}${COUNT_IN}
if ARGV[4] == '0' and redis.call('XLEN', KEYS[1]) == 0 then return {'no log'} end
local known = redis.call('GET', KEYS[2])
if known then
  touch(KEYS[1])
  return {'committed', tonumber(known), 0}
end
local deleted = redis.call('GET', KEYS[5])
if (deleted and string.match(deleted, '^%d+') or '0') ~= ARGV[5] then return {'other generation'} end
local seq = string.sub(redis.call('XADD', KEYS[1], '0-*', 'r', ARGV[1]), 3)
redis.call('SET', KEYS[2], seq, 'EX', ARGV[2])
local split = isSplit(KEYS[3])
if ARGV[3] ~= '' then redis.call('HINCRBY', split and KEYS[4] or KEYS[3], ARGV[3], 1) end
return {'committed', tonumber(seq), 1, usersLength(KEYS[3], split)}`)

export type DeleteRoomReply =
  /** The room is deleted up to this sequence, since this ms; 1 if keys of it may be left. */
  | readonly [outcome: 'deleted', seq: number, ms: number, isUnfinished: 0 | 1]
  /** It has no log, no members, and none that left. */
  | readonly [outcome: 'no room']
  /** Keys of an earlier deletion are left: they come first. */
  | readonly [outcome: 'unfinished']
  /** Its users are in parts, which were not among the keys. */
  | readonly [outcome: 'parts']

/**
 * Deletes a room as far as its own slot has it: KEYS log, deleted, gone, users, left, and perhaps
 * all parts of both; ARGV ms, how many users left may have before its parts are used. The log keeps
 * one entry, which says that everything up to it is gone. The users are set aside, for their blocks
 * and lists are yet to be cleaned. Returns a DeleteRoomReply. Run twice, it deletes once.
 */
export const DELETE_ROOM = script(`${TOUCH}${COUNT_IN}
local log, deleted, gone, users, left = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local head = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
local known = redis.call('GET', deleted)
local generation = known and string.match(known, '^%d+') or '0'
local isEmpty = redis.call('EXISTS', users, left) == 0
if head and isEmpty and head[1] == '0-' .. generation then
  touch(log)
  touch(deleted)
  return {'deleted', tonumber(generation), tonumber(string.match(known, '%d+$')), redis.call('EXISTS', gone)}
end
if not head and isEmpty then return {'no room'} end
if redis.call('EXISTS', gone) == 1 then return {'unfinished'} end
local hasParts = isSplit(users) or redis.call('HLEN', left) >= tonumber(ARGV[2])
if hasParts and #KEYS == 5 then return {'parts'} end
-- Never 1: a commit that knows nothing of the room must not take this log for one that it has seen
-- from its beginning.
local seq = math.max(2, (head and tonumber(string.sub(head[1], 3)) or 0) + 1)
redis.call('XADD', log, string.format('0-%d', seq), 'r', '~deleted.' .. ARGV[1])
redis.call('XTRIM', log, 'MINID', string.format('0-%d', seq))
redis.call('SET', deleted, string.format('%d', seq) .. ' ' .. ARGV[1])
redis.call('SET', gone, generation .. ' ' .. string.format('%d', seq))
for i = 4, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('RENAME', KEYS[i], KEYS[i] .. ':gone') end
end
return {'deleted', seq, tonumber(ARGV[1]), 1}`)

/**
 * Deletes a key of which an unfinished deletion has cleaned all that it stands for: KEYS gone, the
 * key (perhaps `gone` itself), ARGV what `gone` says. Returns 0, and deletes nothing, if that
 * deletion was finished by somebody else meanwhile: another one may have begun. Run twice, it
 * deletes once.
 */
export const CLEANED = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2])
return 1`)

/**
 * Writes a sealed segment, all of it or nothing: KEYS segment, ARGV first sequence, references. Run
 * twice, it writes the same. A segment with other content was written before a failover that took
 * the end of the log back, and is replaced. Returns the number of entries, or NEEDS_COPY if the
 * segment must be replaced and cannot be in place; SEAL_BY_COPY does it then.
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

/**
 * The ids of a block's entries without their texts, for `npm run check`: KEYS block, ARGV start
 * (`-`, or `(` and an id), count.
 */
export const ENTRY_IDS = script(`
local ids = {}
for i, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do ids[i] = entry[1] end
return ids`)

/**
 * Removes entries from a block, and the block with its last entry: KEYS block, ARGV ids. Returns
 * how many existed.
 */
export const REMOVE_ENTRIES = script(`
local removed = redis.call('XDEL', KEYS[1], unpack(ARGV))
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end
return removed`)

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
 * Looks whether a message is in its block although it was changed, and removes it there: KEYS
 * block, changed, ARGV entry id, 1 to remove it. Returns 1 if it is in both. Run twice, it changes
 * nothing.
 */
export const REMOVE_CHANGED = script(`
local isBoth = redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 and #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 1
if isBoth and ARGV[2] == '1' then redis.call('XDEL', KEYS[1], ARGV[1]) end
return isBoth and 1 or 0`)
