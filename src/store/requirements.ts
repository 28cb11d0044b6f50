// All commands that the store and the streams send to Redis, for the check at start and for the
// documented least permissions. The tests run with exactly these permissions, so they fail if a
// command is missing here.
import { markers } from '../redis/markers.js'
import { type Requirements } from '../redis/requirements.js'
import { commandsOf } from '../redis/script.js'
import {
  ADD_DIALOG,
  DIALOG,
  JOIN,
  LEAVE,
  MARK_READ,
  MOVE_DIALOGS,
  MOVE_MARKS,
  REMOVE_DIALOG
} from './dialog-scripts.js'
import {
  blockKey,
  logKey,
  onceKey,
  REMOVALS_CHANNEL,
  roomChannel,
  segmentKey,
  userChannel,
  userCountKey,
  usersKey
} from './keys.js'
import { SIGN, UNSIGN } from './peer-place.js'
import {
  APPEND,
  APPEND_EXPIRING,
  CHANGE,
  ENSURE,
  ENSURE_BY_COPY,
  REMOVE_ENTRIES
} from './block-scripts.js'
import { CLEANED, COMMIT, COMMIT_ONCE, DELETE_ROOM, SEAL, SEAL_BY_COPY } from './log-scripts.js'
import { TOUCH_KEY } from './scripts.js'
import { CLAIM, RELEASE } from './unfinished-deletions.js'
import { COUNT, MOVE_USERS } from './user-scripts.js'

const SENT = [
  'GET',
  'SET',
  'UNLINK',
  'EXISTS',
  'INCRBY',
  'HEXISTS',
  'HGET',
  'HGETALL',
  'HLEN',
  'HMGET',
  'HSCAN',
  'XADD',
  'XDEL',
  'XLEN',
  'XRANGE',
  'XREVRANGE',
  'XTRIM',
  'ZRANGE',
  'ZREVRANGE',
  'ZSCORE'
]
const SCRIPTS = [
  ADD_DIALOG,
  DIALOG,
  JOIN,
  LEAVE,
  MARK_READ,
  MOVE_DIALOGS,
  MOVE_MARKS,
  REMOVE_DIALOG,
  APPEND,
  APPEND_EXPIRING,
  CHANGE,
  CLAIM,
  CLEANED,
  COMMIT,
  COMMIT_ONCE,
  COUNT,
  DELETE_ROOM,
  ENSURE,
  ENSURE_BY_COPY,
  MOVE_USERS,
  RELEASE,
  REMOVE_ENTRIES,
  SEAL,
  SEAL_BY_COPY,
  SIGN,
  TOUCH_KEY,
  UNSIGN
]

export const REQUIREMENTS: Requirements = {
  keyed: [...new Set([...SENT, ...commandsOf(SCRIPTS)])].sort(),
  keys: [
    { example: userCountKey('check'), pattern: 'user:*' },
    ...[logKey('check'), segmentKey('check', 0), usersKey('check'), onceKey('check', 'check')].map(
      example => ({ example, pattern: 'room:*' })
    ),
    { example: markers[0]?.key ?? '', pattern: 'dialogs:*' },
    { example: blockKey('check', 'check.0'), pattern: '*.{*}' }
  ],
  channels: [
    { example: roomChannel('check'), pattern: 'room:*' },
    { example: userChannel('check'), pattern: 'user:*' },
    { example: REMOVALS_CHANNEL, pattern: 'dialogs:*' }
  ]
}
