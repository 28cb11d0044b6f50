// The Lua that runs inside Redis. Each script touches the keys of one slot. Those of a single key work on both sides of a moving slot;
// one with several is answered TRYAGAIN while some of them have gone ahead.
// Scripts replicate by their effects (Redis 7), and may be run twice: what that does is said at each.
import { createHash } from 'node:crypto'

export type Script = { readonly sha: string, readonly text: string }

const texts = new Map<string, string>()

function script (text: string): Script {
  const sha = createHash('sha1').update(text).digest('hex')
  texts.set(sha, text)
  return { sha, text }
}

/** The text of a script by its SHA-1; what NOSCRIPT is answered with. */
export function scriptText (sha: string | Buffer | undefined): string {
  const text = texts.get(String(sha))
  if (text === undefined) throw new Error(`No script has the digest ${String(sha)}`)
  return text
}

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
 * Makes sure that an entry is in a block: KEYS block, ARGV id, text. Answers 1, or 0 when it is gone and its place is taken.
 * XSETID to the present last id changes nothing, but is a write: the WAIT behind it then covers the entry.
 */
export const ENSURE = script(`
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 1 then
  redis.call('XSETID', KEYS[1], redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1])
  return 1
end
local added = redis.pcall('XADD', KEYS[1], ARGV[1], 't', ARGV[2])
if type(added) == 'table' and added.err then return 0 end
return 1`)

// Looks for a reference among the entries after sequence `after`, newest first, and not further back than a minute before the
// reference's own time: a commit comes after its append. Answers the entry's sequence or nil.
const FIND = `
local function find (log, reference, after)
  local oldest = tonumber(string.match(reference, '/(%d+)-%d+$')) - 60000
  local upper = '+'
  while true do
    local entries = redis.call('XREVRANGE', log, upper, '(0-' .. after, 'COUNT', 64)
    for _, entry in ipairs(entries) do
      if entry[2][2] == reference then return tonumber(string.sub(entry[1], 3)) end
      if tonumber(string.match(entry[2][2], '/(%d+)-%d+$')) < oldest then return nil end
    end
    if #entries < 64 then return nil end
    upper = '(' .. entries[64][1]
  end
end`

const TOUCH = `
local function touch (log)
  redis.call('XSETID', log, redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1][1])
end`

/** Writes a log without changing it, so that a WAIT behind it covers all that is in it: KEYS log. */
export const TOUCH_LOG = script(`${TOUCH}
if redis.call('EXISTS', KEYS[1]) == 1 then touch(KEYS[1]) end
return 1`)

const COMMIT_BODY = `
local log = KEYS[1]
local users = tonumber(ARGV[2])
local first = 3 + 2 * users
local seq = find(log, ARGV[first], ARGV[1])
if seq then
  touch(log)
else
  seq = tonumber(string.sub(redis.call('XADD', log, '0-*', 'r', ARGV[first]), 3))
  for i = first + 1, #ARGV do redis.call('XADD', log, '0-*', 'r', ARGV[i]) end
  if KEYS[2] then
    for i = 3, first - 1, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
  end
end
return {seq, redis.call('XLEN', log), KEYS[2] and 1 or 0}`

/**
 * Commits a group: KEYS log and, but in a moving slot, users; ARGV after, number of users, (user, count) …, references …. All or
 * none, and contiguous. Answers the first one's sequence, the log's length, and 1 if it has counted as well.
 * Run twice it commits once: it first looks for the first reference among what came after sequence `after`, which the caller knew
 * before its first attempt. That holds in whatever order a delayed first and a hasty second attempt arrive.
 */
export const COMMIT = script(`${FIND}${TOUCH}${COMMIT_BODY}`)

/**
 * Commits one message under an idempotency key: KEYS log, once, users, ARGV reference, time to live in s, user. Check and commit are
 * one atomic step.
 * Answers the sequence that the key led to, 1 if this very call committed it, and the log's length.
 */
export const COMMIT_ONCE = script(`${TOUCH}
local known = redis.call('GET', KEYS[2])
if known then
  touch(KEYS[1])
  return {tonumber(known), 0, redis.call('XLEN', KEYS[1])}
end
local seq = string.sub(redis.call('XADD', KEYS[1], '0-*', 'r', ARGV[1]), 3)
redis.call('SET', KEYS[2], seq, 'EX', ARGV[2])
redis.call('HINCRBY', KEYS[3], ARGV[3], 1)
return {tonumber(seq), 1, redis.call('XLEN', KEYS[1])}`)

/**
 * Writes a sealed segment: KEYS segment, ARGV first sequence, references. Writes it whole or not at all; run twice, it writes the same.
 */
export const SEAL = script(`
local count = #ARGV - 1
if redis.call('XLEN', KEYS[1]) ~= count then
  redis.call('DEL', KEYS[1])
  for i = 1, count do redis.call('XADD', KEYS[1], '0-' .. string.format('%d', ARGV[1] + i - 1), 'r', ARGV[i + 1]) end
else
  redis.call('XSETID', KEYS[1], redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1])
end
return count`)

/** Adds to a room's counters: KEYS users, ARGV user, count, user, count … Run twice, it counts twice; `npm run check -- --repair` mends it. */
export const COUNT = script(`
for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1`)
