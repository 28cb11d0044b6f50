// Two copies of a block, of which each may have messages that the other one lacks: both get all of them. The entries' ids come from the
// clocks of two nodes and differ, so that the copies are put together like two hands of cards, and every reference still finds its entry.
import { type Reply } from '../../redis/connection.js'
import { parseKey } from '../../store/keys.js'
import { type Admin } from './admin.js'
import { type MapNode } from './map.js'

// KEYS block, ARGV id, text, id, text … of the other copy. Writes it anew in one step if it lacks one of them; answers how many it lacked.
// Emptied, not deleted: a script in a slot that migrates may not touch a key that is not there (any more), and would end half-way.
const MERGE = `
local entries, known, added = redis.call('XRANGE', KEYS[1], '-', '+'), {}, 0
for _, entry in ipairs(entries) do known[entry[1]] = true end
for i = 1, #ARGV, 2 do
  if not known[ARGV[i]] then
    entries[#entries + 1] = {ARGV[i], {'t', ARGV[i + 1]}}
    added = added + 1
  end
end
if added == 0 then return 0 end
local function parts (id)
  local ms, n = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(n)
end
table.sort(entries, function (a, b)
  local ams, an = parts(a[1])
  local bms, bn = parts(b[1])
  return ams < bms or (ams == bms and an < bn)
end)
redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)
redis.call('XSETID', KEYS[1], '0-0', 'ENTRIESADDED', 0, 'MAXDELETEDID', '0-0')
for _, entry in ipairs(entries) do redis.call('XADD', KEYS[1], entry[1], 't', entry[2][2]) end
return added`

export const isBlock = (key: string): boolean => parseKey(key)?.kind === 'block'

/**
 * Gives the owner's copy of a block what only the importing node's has. Clients go to the owner while it has the key, so the other copy stands
 * still. May be done again.
 * @returns how many messages the owner lacked
 */
export async function mergeBlock (admin: Admin, owner: MapNode, importing: MapNode, key: string): Promise<number> {
  const [, entries] = await admin.askAll(importing, [['ASKING'], ['XRANGE', key, '-', '+']])
  // XRANGE answers `[[id, ['t', text]], …]`; blocks hold one field only.
  const flat = (entries as ReadonlyArray<readonly [string, readonly [string, string]]>).flatMap(([id, [, text]]) => [id, text])
  const added: Reply = await admin.ask(owner, 'EVAL', MERGE, '1', key, ...flat)
  return Number(added)
}
