// A module loader that puts one deliberate defect into the compiled service while loading it
// (https://nodejs.org/api/module.html#customization-hooks).
import { type Mutation } from './mutations.js'

type Loaded = {
  readonly format: string
  readonly source: string | Buffer | undefined
  readonly shortCircuit?: boolean
}

let mutation: Mutation | undefined

export function initialize(data: Mutation): void {
  mutation = data
}

export async function load(
  url: string,
  context: object,
  nextLoad: (url: string, context: object) => Promise<Loaded>
): Promise<Loaded> {
  const loaded = await nextLoad(url, context)
  if (mutation === undefined || !url.endsWith(`/dist/src/${mutation.file}`)) return loaded
  const source = String(loaded.source)
  if (source.split(mutation.find).length !== 2) {
    throw new Error(
      `The mutation "${mutation.name}" does not fit ${mutation.file} any more: its text must occur there exactly once`
    )
  }
  return { ...loaded, source: source.replace(mutation.find, () => mutation?.replace ?? '') }
}
