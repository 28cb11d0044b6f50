// fengari, changed in one point: it takes a value off Lua's stack by deleting the element of an
// array. V8 turns an array into a hash table when its elements are deleted, and every access to the
// stack becomes slow. Here the element becomes undefined instead, which reads the same. Measured: a
// script of seven commands takes 30 us instead of 46.
import { createRequire } from 'node:module'
import type fengari from 'fengari'

/** What Node's loader of CommonJS calls with the text of a module. Undocumented, but old. */
type Loader = { _compile: (this: unknown, text: string, path: string) => unknown }

const require = createRequire(import.meta.url)
const { prototype } = require('node:module') as { readonly prototype: Loader }
const { _compile: compile } = prototype

prototype._compile = function (text, path) {
  return compile.call(
    this,
    text.replaceAll(/\bdelete (L\.stack\[[^\]]+\])/g, '$1 = undefined'),
    path
  )
}
const changed = require('fengari') as typeof fengari
prototype._compile = compile

export default changed
