// Runs the service's own Lua in fengari. Scripts cannot keep anything between two calls (Redis
// forbids globals), so one interpreter serves all nodes and all runs, and each script is compiled
// once. This is Lua 5.3 and Redis has 5.1, so `unpack` gets its old name, and whole numbers are
// printed without a decimal point, which is also what Redis answers. Integers have 32 bits here, so
// `%d` becomes `%.0f`.
import type { LuaState } from 'fengari'
import { type ServerKind } from './commands.js'
import fengari from './interpreter.js'
import { ReplyError, Status, type Value } from './resp.js'

const { lua, lauxlib, lualib } = fengari
const toLua = (text: string): Uint8Array => fengari.to_luastring(text)

const OK_FIELD = toLua('ok')
const ERR_FIELD = toLua('err')
const KEYS = toLua('KEYS')
const ARGV = toLua('ARGV')

/** Runs one command for a script. @throws ReplyError */
export type Call = (args: readonly string[]) => Value

const state = lauxlib.luaL_newstate()
const compiled = new Map<string, number>()
let call: Call = () => null
/** Whether the script that runs has run a command. */
let hasCalled = false
/** An error of the simulation itself that occurred while a script ran. */
let fault: unknown

lualib.luaL_openlibs(state)
lua.lua_createtable(state, 0, 4)
for (const [name, run] of [
  ['call', callOrThrow],
  ['pcall', callOrError],
  ['acl_check_cmd', isAllowed],
  ['error_reply', errorReply]
] as const) {
  lua.lua_pushcfunction(state, run)
  lua.lua_setfield(state, -2, toLua(name))
}
lua.lua_setglobal(state, toLua('redis'))
lauxlib.luaL_dostring(
  state,
  toLua(`unpack = table.unpack
local format, forms = string.format, {}
function string.format (form, ...)
  local wide = forms[form]
  if not wide then
    wide = string.gsub(form, '%%d', '%%.0f')
    forms[form] = wide
  end
  return format(wide, ...)
end`)
)

const VERSIONS: Record<ServerKind, number> = { '7.0': 0x07_00_0f, '8': 0x08_00_00 }
/** Which server `redis.REDIS_VERSION_NUM` names at present. */
let named: ServerKind | undefined

function nameServer(kind: ServerKind): void {
  lauxlib.luaL_dostring(state, toLua(`redis.REDIS_VERSION_NUM = ${VERSIONS[kind]}`))
  named = kind
}

/**
 * Replies of scripts that run no command, which depend on nothing but the arguments: above all the
 * one that asks for all permissions. It takes ten times as long as any other, and each process runs
 * it when it starts.
 */
const replies = new Map<string, Value>()

/** @throws ReplyError with the text that Redis would answer */
export function runScript(
  kind: ServerKind,
  sha: string,
  text: string,
  keys: readonly string[],
  args: readonly string[],
  run: Call
): Value {
  const question = [kind, sha, keys.length, ...keys, ...args].join('\n')
  const known = replies.get(question)
  if (known !== undefined) return known
  hasCalled = false
  const reply = interpret(kind, sha, text, keys, args, run)
  if (!hasCalled) replies.set(question, reply)
  return reply
}

function interpret(
  kind: ServerKind,
  sha: string,
  text: string,
  keys: readonly string[],
  args: readonly string[],
  run: Call
): Value {
  if (kind !== named) nameServer(kind)
  const before = call
  call = run
  try {
    lua.lua_settop(state, 0)
    lua.lua_rawgeti(state, lua.LUA_REGISTRYINDEX, functionOf(sha, text))
    setList(KEYS, keys)
    setList(ARGV, args)
    fault = undefined
    const status = lua.lua_pcall(state, 0, 1, 0)
    if (fault !== undefined) throw fault
    if (status !== lua.LUA_OK) throw failure(sha)
    return toValue(state, -1)
  } finally {
    call = before
  }
}

function functionOf(sha: string, text: string): number {
  const known = compiled.get(sha)
  if (known !== undefined) return known
  if (lauxlib.luaL_loadstring(state, toLua(text)) !== lua.LUA_OK) {
    throw new ReplyError(
      `ERR Error compiling script (new function): ${lua.lua_tojsstring(state, -1) ?? ''}`
    )
  }
  const reference = lauxlib.luaL_ref(state, lua.LUA_REGISTRYINDEX)
  compiled.set(sha, reference)
  return reference
}

function setList(name: Uint8Array, texts: readonly string[]): void {
  push(state, texts)
  lua.lua_setglobal(state, name)
}

// An error of a command keeps its first word; an error of Lua itself gets ERR.
function failure(sha: string): ReplyError {
  if (lua.lua_type(state, -1) === lua.LUA_TTABLE) {
    lua.lua_getfield(state, -1, ERR_FIELD)
    return new ReplyError(
      `${lua.lua_tojsstring(state, -1) ?? ''} script: ${sha}, on @user_script:1.`
    )
  }
  return new ReplyError(
    `ERR ${lua.lua_tojsstring(state, -1) ?? ''} script: ${sha}, on @user_script:1.`
  )
}

function callOrThrow(state: LuaState): number {
  const value = called(state)
  push(state, value)
  return value instanceof ReplyError ? lua.lua_error(state) : 1
}

function callOrError(state: LuaState): number {
  push(state, called(state))
  return 1
}

function called(state: LuaState): Value {
  hasCalled = true
  const args: string[] = []
  for (let i = 1; i <= lua.lua_gettop(state); i++) args.push(textAt(state, i))
  try {
    return call(args)
  } catch (error) {
    if (error instanceof ReplyError) return error
    fault = error
    throw error
  }
}

function isAllowed(state: LuaState): number {
  lua.lua_pushboolean(state, true)
  return 1
}

function errorReply(state: LuaState): number {
  push(state, new ReplyError(textAt(state, 1)))
  return 1
}

function textAt(state: LuaState, index: number): string {
  if (lua.lua_type(state, index) === lua.LUA_TNUMBER) return String(lua.lua_tonumber(state, index))
  return lua.lua_tojsstring(state, index) ?? ''
}

function push(state: LuaState, value: Value): void {
  if (typeof value === 'string') lua.lua_pushstring(state, toLua(value))
  // Integers have 32 bits in fengari. Beyond that, it counts in doubles like JavaScript, and so
  // like Redis' Lua.
  else if (typeof value === 'number') pushNumber(state, value)
  else if (value === null) lua.lua_pushboolean(state, false)
  else if (value instanceof Status || value instanceof ReplyError) {
    lua.lua_createtable(state, 0, 1)
    lua.lua_pushstring(state, toLua(value instanceof Status ? value.text : value.message))
    lua.lua_setfield(state, -2, value instanceof Status ? OK_FIELD : ERR_FIELD)
  } else {
    lua.lua_createtable(state, value.length, 0)
    for (let i = 0; i < value.length; i++) {
      push(state, value[i] as Value)
      lua.lua_rawseti(state, -2, i + 1)
    }
  }
}

function toValue(state: LuaState, index: number): Value {
  switch (lua.lua_type(state, index)) {
    case lua.LUA_TSTRING:
      return lua.lua_tojsstring(state, index) ?? ''
    case lua.LUA_TNUMBER:
      return Math.trunc(lua.lua_tonumber(state, index))
    case lua.LUA_TBOOLEAN:
      return lua.lua_toboolean(state, index) ? 1 : null
    case lua.LUA_TTABLE:
      return tableValue(state, index)
    default:
      return null
  }
}

function tableValue(state: LuaState, index: number): Value {
  for (const [name, make] of [
    [ERR_FIELD, (text: string) => new ReplyError(text)],
    [OK_FIELD, (text: string) => new Status(text)]
  ] as const) {
    const isText = lua.lua_getfield(state, index, name) === lua.LUA_TSTRING
    const text = isText ? (lua.lua_tojsstring(state, -1) ?? '') : ''
    lua.lua_pop(state, 1)
    if (isText) return make(text)
  }
  const list: Value[] = []
  for (let i = 1; ; i++) {
    if (lua.lua_rawgeti(state, index, i) === lua.LUA_TNIL) {
      lua.lua_pop(state, 1)
      return list
    }
    list.push(toValue(state, -1))
    lua.lua_pop(state, 1)
  }
}

function pushNumber(state: LuaState, value: number): void {
  if ((value | 0) === value) lua.lua_pushinteger(state, value)
  else lua.lua_pushnumber(state, value)
}
