// The Lua that runs inside Redis. Each script touches the keys of one slot. Those of a single key work on both sides of a moving slot;
// one with several is answered TRYAGAIN while some of them have gone ahead.
// Scripts replicate by their effects (Redis 7), and may be run twice: what that does is said at each.
import { script } from '../redis/script.js'

/**
 * Appends texts to a block: KEYS block, ARGV texts. Answers the first entry's id; the others follow it by one each, by command: the
 * clock of Redis 7.0 goes on inside a script, so that `*` would sooner or later jump to the next ms (7.2 has it stand still).
 * Run twice, it leaves entries that nothing refers to (orphans).
 */
export const APPEND = script(`
local first = redis.call('XADD', KEYS[1], '*', 't', ARGV[1])
local ms, n = string.match(first, '(%d+)-(%d+)')
for i = 2, #ARGV do redis.call('XADD', KEYS[1], ms .. string.format('-%d', n + i - 1), 't', ARGV[i]) end
return first`)

/**
 * Makes sure that an entry is in a block: KEYS block, ARGV id, text. Run twice, it changes nothing.
 * XSETID to the present last id changes nothing either, but is a write: the WAIT behind it then covers the entry.
 * A stream takes entries at its end only. Where later ones have come since a failover took this one, the block is written anew around it;
 * that is at most a block, and happens only then.
 */
export const ENSURE = script(`
local key, id, text = KEYS[1], ARGV[1], ARGV[2]
if #redis.call('XRANGE', key, id, id) == 1 then
  redis.call('XSETID', key, redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1][1])
  return 1
end
local added = redis.pcall('XADD', key, id, 't', text)
if not added.err then return 1 end
if not string.find(added.err, 'equal or smaller', 1, true) then return added end
local before = redis.call('XRANGE', key, '-', '(' .. id)
local after = redis.call('XRANGE', key, '(' .. id, '+')
redis.call('DEL', key)
for _, entry in ipairs(before) do redis.call('XADD', key, entry[1], unpack(entry[2])) end
redis.call('XADD', key, id, 't', text)
for _, entry in ipairs(after) do redis.call('XADD', key, entry[1], unpack(entry[2])) end
return 1`)

const TOUCH = `
local function touch (log)
  local head = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if head then redis.call('XSETID', log, head[1]) end
end`

/** Writes a log without changing it, so that a WAIT behind it covers all that is in it: KEYS log. */
export const TOUCH_LOG = script(`${TOUCH}
touch(KEYS[1])
return 1`)

/** Nothing was committed: the log has no entries, and it was not allowed to begin it. */
export type NoLog = readonly [outcome: 'no log']

export type CommitReply =
  | NoLog
  /** The first one's sequence, and 1 if there is nothing left to count. */
  | readonly [outcome: 'committed', first: number, isCounted: 0 | 1]
  /** Nothing was committed: it could not see all that came behind `after`. The log's last sequence. */
  | readonly [outcome: 'unseen', head: number]

/**
 * Commits a group: KEYS log and, but in a moving slot, users; ARGV after, 1 if it may begin the log, number of users, (user, count) …,
 * references …. All or none, and contiguous. Answers a CommitReply.
 * Run twice it commits once, in whatever order a delayed first and a hasty second attempt arrive: it looks for the first reference among
 * what came behind sequence `after`, which the caller knew before its first attempt. Where it cannot see all of that (the log was trimmed
 * beyond `after`, or lost its end) it commits nothing.
 * Nearly always nothing came behind `after`, and the first entry's own sequence tells: so it is added before anything is looked for, and
 * taken out again if it was there, or that cannot be seen.
 */
export const COMMIT = script(`
local log, after, first = KEYS[1], tonumber(ARGV[1]), 4 + 2 * tonumber(ARGV[3])
local added = redis.call('XADD', log, 'NOMKSTREAM', '0-*', 'r', ARGV[first])
if not added then
  if ARGV[2] == '0' then return {'no log'} end
  added = redis.call('XADD', log, '0-*', 'r', ARGV[first])
end
local seq = tonumber(string.sub(added, 3))
if seq ~= after + 1 then
  local floor, oldest, known, entries = '0-' .. ARGV[1], added, nil, nil
  repeat
    entries = redis.call('XREVRANGE', log, '(' .. oldest, floor, 'COUNT', 64)
    for _, entry in ipairs(entries) do
      oldest = entry[1]
      if oldest == floor then break end
      if entry[2][2] == ARGV[first] then known = tonumber(string.sub(oldest, 3)) break end
    end
  until known or oldest == floor or #entries < 64
  if known or not (oldest == floor or after == 0 and oldest == '0-1') then
    redis.call('XDEL', log, added)
    if redis.call('XLEN', log) == 0 then redis.call('DEL', log)
    else redis.call('XSETID', log, '0-' .. seq - 1, 'MAXDELETEDID', '0-' .. seq - 1) end
    if known then return {'committed', known, 1} end
    return {'unseen', seq - 1}
  end
end
for i = first + 1, #ARGV do redis.call('XADD', log, '0-*', 'r', ARGV[i]) end
if KEYS[2] then
  for i = 4, first - 1, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
return {'committed', seq, KEYS[2] and 1 or 0}`)

export type CommitOnceReply =
  | NoLog
  /** The sequence that the key led to, and 1 if this very call committed it. */
  | readonly [outcome: 'committed', seq: number, isNewHere: 0 | 1]

/**
 * Commits one message under an idempotency key: KEYS log, once, users, ARGV reference, time to live in s, user, 1 if it may begin the log.
 * Check and commit are one atomic step. Answers a CommitOnceReply.
 */
export const COMMIT_ONCE = script(`${TOUCH}
if ARGV[4] == '0' and redis.call('XLEN', KEYS[1]) == 0 then return {'no log'} end
local known = redis.call('GET', KEYS[2])
if known then
  touch(KEYS[1])
  return {'committed', tonumber(known), 0}
end
local seq = string.sub(redis.call('XADD', KEYS[1], '0-*', 'r', ARGV[1]), 3)
redis.call('SET', KEYS[2], seq, 'EX', ARGV[2])
redis.call('HINCRBY', KEYS[3], ARGV[3], 1)
return {'committed', tonumber(seq), 1}`)

/**
 * Writes a sealed segment: KEYS segment, ARGV first sequence, references. Writes it whole or not at all; run twice, it writes the same.
 * A segment that holds something else is of a past that a failover took back, and is replaced.
 */
export const SEAL = script(`
local count = #ARGV - 1
local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', count + 1)
local isWritten = #entries == count
local ids = {}
for i = 1, count do
  ids[i] = string.format('0-%d', ARGV[1] + i - 1)
  isWritten = isWritten and entries[i][1] == ids[i] and entries[i][2][2] == ARGV[i + 1]
end
if isWritten then
  redis.call('XSETID', KEYS[1], ids[count])
else
  redis.call('DEL', KEYS[1])
  for i = 1, count do redis.call('XADD', KEYS[1], ids[i], 'r', ARGV[i + 1]) end
end
return count`)

/** Adds to a room's counters: KEYS users, ARGV user, count, user, count … Run twice, it counts twice; `npm run check -- --repair` mends it. */
export const COUNT = script(`
for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1`)

/** The ids of a block's entries without their texts, for `npm run check`: KEYS block, ARGV start (`-`, or `(` and an id), count. */
export const ENTRY_IDS = script(`
local ids = {}
for i, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do ids[i] = entry[1] end
return ids`)

/** Removes entries from a block, and the block with its last one: KEYS block, ARGV ids. Answers how many were there. */
export const REMOVE_ENTRIES = script(`
local removed = redis.call('XDEL', KEYS[1], unpack(ARGV))
if redis.call('XLEN', KEYS[1]) == 0 then redis.call('DEL', KEYS[1]) end
return removed`)

/**
 * Corrects a room's counter: KEYS users, ARGV user, the count that was read, difference. Does nothing where it has changed since, and so
 * nothing when run twice; removes a counter of nothing. Answers 1 if it has corrected.
 */
export const CORRECT_COUNT = script(`
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) ~= tonumber(ARGV[2]) then return 0 end
if redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[3]) == 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1`)
