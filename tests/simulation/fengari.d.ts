// The part of fengari (Lua 5.3 in JavaScript) that the simulation uses. It has the names of Lua's
// own C API.
declare module 'fengari' {
  export type LuaState = { readonly __brand: 'lua_State' }
  export type LuaString = Uint8Array
  type Api = {
    readonly LUA_OK: number
    readonly LUA_TNIL: number
    readonly LUA_TBOOLEAN: number
    readonly LUA_TNUMBER: number
    readonly LUA_TSTRING: number
    readonly LUA_TTABLE: number
    readonly LUA_REGISTRYINDEX: number
    lua_createtable: (state: LuaState, arrayLength: number, fields: number) => void
    lua_error: (state: LuaState) => never
    lua_gettop: (state: LuaState) => number
    lua_pcall: (state: LuaState, args: number, results: number, handler: number) => number
    lua_pop: (state: LuaState, count: number) => void
    lua_pushboolean: (state: LuaState, value: boolean) => void
    lua_pushcfunction: (state: LuaState, run: (state: LuaState) => number) => void
    lua_pushinteger: (state: LuaState, value: number) => void
    lua_pushnumber: (state: LuaState, value: number) => void
    lua_pushstring: (state: LuaState, value: LuaString) => void
    lua_rawgeti: (state: LuaState, index: number, key: number) => number
    lua_rawseti: (state: LuaState, index: number, key: number) => void
    lua_getfield: (state: LuaState, index: number, key: LuaString) => number
    lua_setfield: (state: LuaState, index: number, key: LuaString) => void
    lua_setglobal: (state: LuaState, name: LuaString) => void
    lua_settop: (state: LuaState, index: number) => void
    lua_toboolean: (state: LuaState, index: number) => boolean
    lua_tojsstring: (state: LuaState, index: number) => string | null
    lua_tonumber: (state: LuaState, index: number) => number
    lua_type: (state: LuaState, index: number) => number
  }
  type Aux = {
    luaL_dostring: (state: LuaState, text: LuaString) => number
    luaL_loadstring: (state: LuaState, text: LuaString) => number
    luaL_newstate: () => LuaState
    luaL_ref: (state: LuaState, table: number) => number
  }
  const fengari: {
    readonly lua: Api
    readonly lauxlib: Aux
    readonly lualib: { luaL_openlibs: (state: LuaState) => void }
    readonly to_luastring: (text: string) => LuaString
  }
  export default fengari
}
