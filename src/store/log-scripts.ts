// The Lua scripts that write to a room's log and its segments. scripts.ts has the rules for all
// scripts. Invariant: an entry keeps its sequence, and a sequence is handed out only once.
import { script } from '../redis/script.js'
import { NEEDS_COPY, REFILL, TOUCH } from './scripts.js'
import { COUNT_IN } from './user-scripts.js'

/** Nothing was committed: the log has no entries, and the script was not allowed to start it. */
export type NoLog = readonly [outcome: 'no log']

export type CommitReply =
  | NoLog
  /**
   * `first` is the sequence of the first message. `isCounted` is 0 if the messages are still to be
   * counted. `usersLength` is there if this run has counted them (Users.noteLength).
   */
  | readonly [outcome: 'committed', first: number, isCounted: 0 | 1, usersLength?: number]
  /**
   * Nothing was committed, because the script could not see everything after `after`. `head` is the
   * log's last sequence, with its reference; 0 and none if the log is empty.
   */
  | readonly [outcome: 'unseen', head: number, reference?: string]
  | NotMembers

/** Nothing was committed, because these users may only write as members, and are none. */
export type NotMembers = readonly [outcome: 'not members', ...users: string[]]

/**
 * Commits a group, all of it or nothing, with consecutive sequences. KEYS log and, unless the slot
 * is half-moved, users, and the part of each user if the room is split or somebody must be a
 * member. ARGV after, the reference there (empty for `after` 0), 1 if it may start the log, number
 * of users, how many of them (the first ones) must be members, (user, count) …, references ….
 * Returns a CommitReply.
 *
 * Run twice, it commits once, even if a delayed first attempt arrives after the second one: it
 * searches for the first reference among the entries after sequence `after`, which the caller knew
 * before its first attempt. If it cannot see all of these entries (the log was trimmed beyond
 * `after`, or has lost its end), it commits nothing. The reference shows that a log has lost its
 * end also when the log has grown beyond `after` again. It searches before it adds, because an
 * added entry cannot be taken back: a stream accepts no id below a deleted one, so the sequence
 * would be lost. Nearly always there is nothing after `after`, and the search looks at one entry.
 */
export const COMMIT = script(`${TOUCH}${COUNT_IN}
local log, floor, first = KEYS[1], '0-' .. ARGV[1], 6 + 2 * tonumber(ARGV[4])
local head = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
if not head then
  if ARGV[3] == '0' then return {'no log'} end
  if ARGV[1] ~= '0' then return {'unseen', 0} end
elseif head[1] ~= floor or head[2][2] ~= ARGV[2] then
  local upper, oldest, isSeen, entries = '+', nil, false, nil
  repeat
    entries = redis.call('XREVRANGE', log, upper, floor, 'COUNT', 64)
    for _, entry in ipairs(entries) do
      oldest = entry[1]
      if oldest == floor then
        isSeen = entry[2][2] == ARGV[2]
        break
      end
      if entry[2][2] == ARGV[first] then
        touch(log)
        return {'committed', tonumber(string.sub(oldest, 3)), 1}
      end
    end
    isSeen = isSeen or ARGV[1] == '0' and oldest == '0-1'
    upper = oldest and '(' .. oldest
  until isSeen or #entries < 64
  if not isSeen then return {'unseen', tonumber(string.sub(head[1], 3)), head[2][2]} end
end
if ARGV[5] ~= '0' then
  local strangers = {'not members'}
  for i = 1, tonumber(ARGV[5]) do
    local user = ARGV[4 + 2 * i]
    if not isMember(KEYS[2], KEYS[2 + i], user) then strangers[#strangers + 1] = user end
  end
  if #strangers > 1 then return strangers end
end
local seq = tonumber(string.sub(redis.call('XADD', log, '0-*', 'r', ARGV[first]), 3))
for i = first + 1, #ARGV do redis.call('XADD', log, '0-*', 'r', ARGV[i]) end
if not KEYS[2] then return {'committed', seq, 0} end
local split = isSplit(KEYS[2])
for i = 6, first - 1, 2 do
  local part = split and KEYS[i / 2]
  redis.call('HINCRBY', part or KEYS[2], ARGV[i], ARGV[i + 1])
end
return {'committed', seq, 1, usersLength(KEYS[2], split)}`)

/** Nothing was committed: the room was deleted, and the reference is from another generation. */
export type OtherGeneration = readonly [outcome: 'other generation']

export type CommitOnceReply =
  | NoLog
  | OtherGeneration
  | NotMembers
  /** The sequence that the idempotency key belongs to, and 1 if this very call has committed it. */
  | readonly [outcome: 'committed', seq: number, isNewHere: 0 | 1, usersLength?: number]

/**
 * Commits one message under an idempotency key: KEYS log, once, users, the user's part, deleted,
 * ARGV reference, time to live of the key in s, user (empty for a change, which is counted for
 * nobody), 1 if it may start the log, the generation of the reference, 1 if the user must be a
 * member. The check and the commit are one atomic step. Returns a CommitOnceReply. Run twice, it
 * commits once.
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
if ARGV[6] == '1' and not isMember(KEYS[3], KEYS[4], ARGV[3]) then return {'not members', ARGV[3]} end
local seq = string.sub(redis.call('XADD', KEYS[1], '0-*', 'r', ARGV[1]), 3)
redis.call('SET', KEYS[2], seq, 'EX', ARGV[2])
local split = isSplit(KEYS[3])
if ARGV[3] ~= '' then redis.call('HINCRBY', split and KEYS[4] or KEYS[3], ARGV[3], 1) end
return {'committed', tonumber(seq), 1, usersLength(KEYS[3], split)}`)

/**
 * Reads one entry of a log, and writes the log without changing it, so that a following WAIT covers
 * the entry: KEYS log, ARGV sequence. Returns the entry's reference; an empty string if the log
 * begins after that sequence; null if it ends before. Run twice, it does the same.
 */
export const CONFIRM = script(`${TOUCH}
local id = '0-' .. ARGV[1]
local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
if not entry then return #redis.call('XRANGE', KEYS[1], id, '+', 'COUNT', 1) > 0 and '' end
touch(KEYS[1])
return entry[2][2]`)

export type DeleteRoomReply =
  /** The room is deleted up to `seq`, since `ms`; `isUnfinished` is 1 if keys of it may be left. */
  | readonly [outcome: 'deleted', seq: number, ms: number, isUnfinished: 0 | 1]
  /** It has no log, no members, and nobody who has left it. */
  | readonly [outcome: 'no room']
  /** Keys of an earlier deletion are left, and have to be cleaned before this one. */
  | readonly [outcome: 'unfinished']
  /** Its users are in parts, which were not among the keys. */
  | readonly [outcome: 'parts']

/**
 * Deletes what a room has in its own slot: KEYS log, deleted, gone, users, left, and for a large
 * room all parts of both; ARGV ms, how many users `left` may have before its parts are used. The
 * log keeps one entry, which says that everything up to it is gone. The users are set aside,
 * because their blocks and lists have yet to be cleaned. Returns a DeleteRoomReply. Run twice, it
 * deletes once.
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
 * Deletes a key after everything that it stood for was cleaned: KEYS gone, the key (perhaps `gone`
 * itself), ARGV the value of `gone` during the cleaning. Returns 0 and deletes nothing if `gone`
 * has another value now: somebody else has finished this deletion, and another one may have begun.
 * Run twice, it deletes once.
 */
export const CLEANED = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2])
return 1`)

/**
 * Writes a sealed segment, all of it or nothing: KEYS segment, ARGV first sequence, references. Run
 * twice, it writes the same. If the segment has other content, that was written before a failover
 * took the end of the log back, and is replaced. Returns the number of entries, or NEEDS_COPY if
 * the segment cannot be replaced in place; then SEAL_BY_COPY does it.
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
 * As SEAL, but writes a copy, which replaces the segment: KEYS segment, copy, ARGV first sequence,
 * references.
 */
export const SEAL_BY_COPY = script(`
redis.call('DEL', KEYS[2])
for i = 2, #ARGV do redis.call('XADD', KEYS[2], string.format('0-%d', ARGV[1] + i - 2), 'r', ARGV[i]) end
redis.call('RENAME', KEYS[2], KEYS[1])
return #ARGV - 1`)
