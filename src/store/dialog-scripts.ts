// The Lua scripts for members, a person's rooms and read marks. scripts.ts has the rules for all
// scripts. Invariant: each script that changes something writes to its keys on every run, so that a
// WAIT after a repetition also covers what the first run wrote; and it writes the replacement
// before it deletes anything. While its slot is half-moved, a script with several keys waits
// (TRYAGAIN). ADD_DIALOG and MARK_READ are then sent with their first key alone, to which anything
// may be written at any time (parted.ts).
import { script } from '../redis/script.js'
import { DIALOGS_PARTS, PARTS_MARK } from './keys.js'
import { TOUCH } from './scripts.js'
import { COUNT_IN } from './user-scripts.js'

/**
 * The score of the mark among a user's rooms. It is later than any time, so that the newest room
 * shows whether there are parts.
 */
export const MARK_SCORE = 9_000_000_000_000_000

/**
 * Makes a user a member: KEYS users, the user's part, left, the user's part of left, the inviter's
 * part; ARGV user, the inviter if they must be a member themselves, else empty. A former member
 * gets their count back. Returns 1 if the user was not a member, and the length of users
 * (Users.noteLength); or -1 if the inviter is none, and then nothing has changed.
 */
export const JOIN = script(`${COUNT_IN}
local user, split = ARGV[1], isSplit(KEYS[1])
if ARGV[2] ~= '' and not isMember(KEYS[1], KEYS[5], ARGV[2]) then return {-1} end
local isNew = not isMember(KEYS[1], KEYS[2], user)
local back = (redis.call('HGET', KEYS[3], user) or 0) + (redis.call('HGET', KEYS[4], user) or 0)
redis.call('HINCRBY', split and KEYS[2] or KEYS[1], user, string.format('%d', back))
if back > 0 then
  redis.call('HDEL', KEYS[3], user)
  redis.call('HDEL', KEYS[4], user)
end
return {isNew and 1 or 0, usersLength(KEYS[1], split)}`)

/**
 * Ends a membership: KEYS users, the user's part, left, the user's part of left; ARGV user, how
 * many users `left` may have before its parts are used. `left` keeps how many messages the user has
 * written. Returns 1 if they were a member.
 */
export const LEAVE = script(`
local user = ARGV[1]
local direct, inPart = redis.call('HGET', KEYS[1], user), redis.call('HGET', KEYS[2], user)
local count = (direct or 0) + (inPart or 0)
if count > 0 then
  local isFull = redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[2])
  local inLeft = not isFull or redis.call('HEXISTS', KEYS[3], user) == 1
  redis.call('HINCRBY', inLeft and KEYS[3] or KEYS[4], user, string.format('%d', count))
end
if not direct then redis.call('HSET', KEYS[1], user, 0) end
redis.call('HDEL', KEYS[1], user)
redis.call('HDEL', KEYS[2], user)
return (direct or inPart) and 1 or 0`)

/**
 * Adds a room to a user's rooms, or moves it up: KEYS rooms, the room's part; ARGV room, ms, how
 * many rooms one key may have. Returns 1 if the room is new, 0 if it was there, -1 if the key is
 * full; and the number of rooms in the first key, negative if they are split.
 */
export const ADD_DIALOG = script(`${TOUCH}
local room = ARGV[1]
local split = redis.call('ZSCORE', KEYS[1], '${PARTS_MARK}')
local target = split and KEYS[2] or KEYS[1]
local function length ()
  local count = redis.call('ZCARD', KEYS[1])
  return split and -count or count
end
local isKnown = redis.call('ZSCORE', KEYS[1], room) or KEYS[2] and redis.call('ZSCORE', KEYS[2], room)
if not isKnown and redis.call('ZCARD', target) >= tonumber(ARGV[3]) then return {-1, length()} end
if redis.call('ZADD', target, 'GT', 'CH', ARGV[2], room) == 0 then touch(target) end
return {isKnown and 0 or 1, length()}`)

/**
 * Removes a room from a user's rooms, with its read mark: KEYS rooms, the room's part, read, the
 * room's part of read; ARGV room. Returns 1 if it was there.
 */
export const REMOVE_DIALOG = script(`
local room = ARGV[1]
redis.call('HSET', KEYS[3], room, '0-0')
redis.call('HDEL', KEYS[3], room)
redis.call('HDEL', KEYS[4], room)
return redis.call('ZREM', KEYS[1], room) + redis.call('ZREM', KEYS[2], room) > 0 and 1 or 0`)

/**
 * Moves a read mark, but never back: KEYS read, the room's part; ARGV room, sequence, ms. A mark is
 * `<sequence>-<ms of the marking>`. Returns the sequence of the mark now, 1 if it was moved, and
 * the number of marks in the first key, negative if they are split. Run twice, it says 1 again: the
 * first reply may be lost, and the person's streams must be told.
 */
export const MARK_READ = script(`
local room, seq = ARGV[1], tonumber(ARGV[2])
local split = redis.call('HEXISTS', KEYS[1], '${PARTS_MARK}') == 1
local known, mark = -1, nil
for _, key in ipairs(KEYS) do
  local other = redis.call('HGET', key, room)
  local otherSeq = other and tonumber(string.match(other, '^%d+'))
  if other and otherSeq > known then known, mark = otherSeq, other end
end
local isMoved = seq > known
local own = ARGV[2] .. '-' .. ARGV[3]
if isMoved then known, mark = seq, own end
redis.call('HSET', split and KEYS[2] or KEYS[1], room, mark)
local length = redis.call('HLEN', KEYS[1])
return {known, mark == own and 1 or 0, split and -length or length}`)

/**
 * Moves some of a user's rooms from the first key to their parts, and marks the rooms as split:
 * KEYS rooms, parts …; ARGV room, index of its part in KEYS, room, index …. If a room is in the
 * first key and in its part, the later time stays.
 */
export const MOVE_DIALOGS = script(`
redis.call('ZADD', KEYS[1], '${MARK_SCORE}', '${PARTS_MARK}')
for i = 1, #ARGV, 2 do
  local ms = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if ms then
    redis.call('ZADD', KEYS[tonumber(ARGV[i + 1])], 'GT', ms, ARGV[i])
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return 1`)

/** The same for read marks: KEYS read, parts …; ARGV as MOVE_DIALOGS. The later mark stays. */
export const MOVE_MARKS = script(`
redis.call('HSET', KEYS[1], '${PARTS_MARK}', '${DIALOGS_PARTS}')
for i = 1, #ARGV, 2 do
  local mark = redis.call('HGET', KEYS[1], ARGV[i])
  if mark then
    local part = KEYS[tonumber(ARGV[i + 1])]
    local other = redis.call('HGET', part, ARGV[i])
    local isLater = not other or tonumber(string.match(mark, '^%d+')) > tonumber(string.match(other, '^%d+'))
    if isLater then redis.call('HSET', part, ARGV[i], mark) end
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return 1`)

/** Unread messages are counted up to this number; one more stands for any larger number. */
export const UNREAD_MAX = 99
/** Log entries looked at to count them. */
export const UNREAD_SCAN_MAX = 1024

export type DialogReply = readonly [head: number, unread: number, seq: number, reference: string]

/**
 * A room as one user sees it: KEYS log; ARGV the last sequence that the user has read, user, the
 * first sequence that has not expired. Returns a DialogReply:
 * - the head;
 * - how many messages of others come after the last one read. 100 stands for more, or for entries
 *   further back than UNREAD_SCAN_MAX; -1 if the tail of the log does not reach back far enough.
 *   Entries that are not messages do not count;
 * - the sequence and the reference of the last message; 0 and empty if none was found.
 */
export const DIALOG = script(`
local log, read, user = KEYS[1], tonumber(ARGV[1]), ARGV[2] .. '.'
local first, isOver = tonumber(ARGV[3]), false
local head, unread, last, looked = 0, 0, nil, 0
local upper, oldest, count = '+', nil, 1
repeat
  local entries = redis.call('XREVRANGE', log, upper, '-', 'COUNT', count)
  for _, entry in ipairs(entries) do
    local seq = tonumber(string.sub(entry[1], 3))
    if looked == 0 then head = seq end
    oldest, looked = seq, looked + 1
    local reference = entry[2][2]
    -- The room was deleted here, or its messages have expired: nothing is left from here on.
    if seq < first or string.find(reference, '^~deleted%.%d+$') then
      read, isOver = math.max(read, seq), true
      break
    end
    -- The entry of a change ends in something else.
    if string.find(reference, '/%d+%-%d+$') then
      last = last or entry
      local isOwn = string.sub(reference, 1, #user) == user and string.find(reference, '^%d+:?%d*/', #user + 1)
      if seq > read and not isOwn then unread = unread + 1 end
    end
    if unread > ${UNREAD_MAX} or seq <= read and last then break end
  end
  local isEnd = isOver or #entries < count or last and (unread > ${UNREAD_MAX} or oldest <= read + 1)
  upper, count = oldest and '(0-' .. string.format('%d', oldest), 64
until isEnd or looked >= ${UNREAD_SCAN_MAX}
if oldest and oldest > read + 1 and unread <= ${UNREAD_MAX} then
  unread = looked >= ${UNREAD_SCAN_MAX} and ${UNREAD_MAX + 1} or -1
end
return {head, unread, last and tonumber(string.sub(last[1], 3)) or 0, last and last[2][2] or ''}`)
