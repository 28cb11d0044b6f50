// The Lua of members, lists and marks against a plain model, in the simulated Redis. The calls are
// random, and each runs once or twice: with all keys or, as in a half-moved slot, with the first
// key alone. Keys are split in between. tests/cluster runs the same scripts on real servers.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { type Script } from '../../src/redis/script.js'
import {
  ADD_DIALOG,
  DIALOG,
  JOIN,
  LEAVE,
  MARK_READ,
  MOVE_DIALOGS,
  MOVE_MARKS,
  REMOVE_DIALOG
} from '../../src/store/dialog-scripts.js'
import { COUNT } from '../../src/store/user-scripts.js'
import { COMMANDS, runOnKeys, type Context } from '../simulation/commands.js'
import { Keyspace } from '../simulation/keyspace.js'
import { runScript } from '../simulation/lua.js'

class Redis {
  readonly #context: Context
  effects = 0

  constructor() {
    this.#context = {
      db: new Keyspace(),
      clockMs: 1,
      kind: '8',
      effect: () => {
        this.effects++
      }
    }
  }

  call(...args: string[]): unknown {
    const command = COMMANDS.get(args[0] ?? '')
    if (command === undefined) throw new Error(`No command ${args[0] ?? ''}`)
    return runOnKeys(command, this.#context, args)
  }

  run({ sha, text }: Script, keys: readonly string[], ...args: Array<string | number>): unknown {
    return runScript('8', sha, text, keys, args.map(String), words => {
      const command = COMMANDS.get(words[0] ?? '')
      if (command === undefined) throw new Error(`No command ${words[0] ?? ''}`)
      return runOnKeys(command, this.#context, words)
    })
  }
}

const name = fc.constantFrom('a', 'b', 'c')
const times = fc.constantFrom(1, 2)

t.test('members: whatever calls run, once or twice, the room equals the model', async () => {
  const operation = fc.record({
    kind: fc.constantFrom('join', 'join in migration', 'invite', 'leave', 'write', 'split'),
    user: name,
    inviter: name,
    times
  })
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), operations => {
      const redis = new Redis()
      const members = new Set<string>()
      const written = new Map<string, number>()
      let isSplit = false
      for (const { kind, user, inviter, times } of operations) {
        const keys = ['users', `users:${user}`, 'left', `left:${user}`]
        for (let run = 1; run <= times; run++) {
          const before = redis.effects
          const wasMember = members.has(user)
          if (kind === 'join') {
            const [isNew] = redis.run(JOIN, [...keys, `users:${user}`], user, '') as [number]
            assert.equal(isNew, wasMember ? 0 : 1)
            members.add(user)
          } else if (kind === 'invite') {
            const run = redis.run(JOIN, [...keys, `users:${inviter}`], user, inviter)
            const [isNew] = run as [number]
            if (!members.has(inviter)) {
              assert.equal(isNew, -1, 'only a member may invite')
              assert.equal(redis.effects, before, 'and nothing has changed')
              continue
            }
            assert.equal(isNew, wasMember ? 0 : 1)
            members.add(user)
          } else if (kind === 'join in migration') {
            redis.run(COUNT, ['users'], user, 0)
            members.add(user)
          } else if (kind === 'leave') {
            // A limit of one: the second user who leaves is kept in a part.
            assert.equal(redis.run(LEAVE, keys, user, 1), wasMember ? 1 : 0)
            members.delete(user)
          } else if (kind === 'write') {
            redis.call('HINCRBY', isSplit ? `users:${user}` : 'users', user, '1')
            members.add(user)
            written.set(user, (written.get(user) ?? 0) + 1)
          } else {
            redis.call('HSET', 'users', '{parts}', '512')
            isSplit = true
          }
          assert.ok(redis.effects > before, 'it writes something, for a WAIT to wait for')
        }
        for (const user of ['a', 'b', 'c']) {
          const countIn = (...keys: string[]): Array<number | undefined> =>
            keys.map(key => {
              const count = redis.call('HGET', key, user)
              return count === null ? undefined : Number(count)
            })
          const there = countIn('users', `users:${user}`)
          const left = countIn('left', `left:${user}`)
          assert.equal(
            there.some(count => count !== undefined),
            members.has(user)
          )
          const sum = [...there, ...left].reduce<number>((sum, count) => sum + (count ?? 0), 0)
          assert.equal(sum, written.get(user) ?? 0, 'no message is forgotten')
        }
      }
    })
  )
})

t.test('lists and marks: the later time and the further mark win, in either key', async () => {
  const operation = fc.record({
    kind: fc.constantFrom('add', 'mark', 'remove', 'split lists', 'split marks'),
    room: name,
    value: fc.integer({ min: 1, max: 20 }),
    isInMigration: fc.boolean(),
    times
  })
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), operations => {
      const redis = new Redis()
      const acted = new Map<string, number>()
      const read = new Map<string, number>()
      for (const { kind, room, value, isInMigration, times } of operations) {
        const keys = (key: string): string[] => (isInMigration ? [key] : [key, `${key}:${room}`])
        for (let run = 1; run <= times; run++) {
          const before = redis.effects
          if (kind === 'add') {
            const [outcome] = redis.run(ADD_DIALOG, keys('rooms'), room, value, 100) as [number]
            // With the first key alone it may not know what the part has.
            if (!isInMigration) assert.equal(outcome, acted.has(room) ? 0 : 1)
            acted.set(room, Math.max(acted.get(room) ?? 0, value))
          } else if (kind === 'mark') {
            const [seq] = redis.run(MARK_READ, keys('read'), room, value, 1) as [number]
            read.set(room, Math.max(read.get(room) ?? 0, value))
            if (!isInMigration) assert.equal(seq, read.get(room))
          } else if (kind === 'remove') {
            const both = ['rooms', `rooms:${room}`, 'read', `read:${room}`]
            assert.equal(redis.run(REMOVE_DIALOG, both, room), acted.has(room) ? 1 : 0)
            acted.delete(room)
            read.delete(room)
          } else {
            const [script, key] =
              kind === 'split lists' ? [MOVE_DIALOGS, 'rooms'] : [MOVE_MARKS, 'read']
            redis.run(script, [key, `${key}:${room}`], room, 2)
          }
          assert.ok(redis.effects > before, 'it writes something, for a WAIT to wait for')
        }
        for (const room of ['a', 'b', 'c']) {
          const ms = ['rooms', `rooms:${room}`].map(key => redis.call('ZSCORE', key, room))
          assert.equal(Math.max(...ms.map(Number)), acted.get(room) ?? 0)
          const marks = ['read', `read:${room}`].map(key =>
            Number.parseInt(String(redis.call('HGET', key, room) ?? '0'), 10)
          )
          assert.equal(Math.max(...marks), read.get(room) ?? 0)
        }
      }
    })
  )
})

t.test('unread are the messages of others after the mark that still exist', async () => {
  const author = fc.constantFrom('ann', 'bob', 'bob.1', 'no message')
  fc.assert(
    fc.property(
      fc.array(author, { maxLength: 150 }),
      fc.integer({ min: 0, max: 160 }),
      fc.integer({ min: 1, max: 160 }),
      fc.option(fc.nat({ max: 149 }), { nil: undefined }),
      fc.constantFrom('', ':7'),
      (authors, read, first, deletedAt, generation) => {
        const redis = new Redis()
        for (const [index, user] of authors.entries()) {
          const [field, value] =
            index === deletedAt
              ? ['r', '~deleted.5']
              : user === 'no message'
                ? ['c', 'x']
                : ['r', `${user}.${index % 3}${generation}/${index + 1}-0`]
          redis.call('XADD', 'log', '0-*', field, value)
        }
        const gone = Math.max(
          first - 1,
          deletedAt !== undefined && deletedAt < authors.length ? deletedAt + 1 : 0
        )
        const unread = authors
          .slice(Math.max(read, gone))
          .filter(user => user !== 'bob' && user !== 'no message').length
        const newest = authors.findLastIndex(user => user !== 'no message') + 1
        const last = newest > gone ? newest : 0
        const [head, counted, seq, reference] = redis.run(DIALOG, ['log'], read, 'bob', first) as [
          number,
          number,
          number,
          string
        ]
        assert.deepEqual([head, counted, seq], [authors.length, Math.min(100, unread), last])
        assert.equal(
          reference,
          last === 0 ? '' : `${authors[last - 1] ?? ''}.${(last - 1) % 3}${generation}/${last}-0`
        )
      }
    )
  )
})
