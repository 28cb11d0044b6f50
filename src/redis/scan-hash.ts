// Reads a large hash in pieces (https://redis.io/docs/latest/commands/hscan/), so that Redis never
// answers with all of it at once. A field that is changed meanwhile may come twice, and a field
// that is added meanwhile may be missing.
import { type Reply } from './connection.js'

/**
 * Yields the fields of `key` with their values, about `count` at a time. A piece may be empty.
 * @param run sends a command to the owner of the key
 */
export async function* scanHash(
  run: (args: string[]) => Promise<Reply>,
  key: string,
  count: number
): AsyncGenerator<ReadonlyMap<string, string>> {
  let cursor = '0'
  do {
    // HSCAN returns the next cursor, and field, value, field, value …
    const [next, flat] = (await run(['HSCAN', key, cursor, 'COUNT', String(count)])) as readonly [
      string,
      readonly string[]
    ]
    const fields = new Map<string, string>()
    for (let index = 0; index < flat.length; index += 2) {
      fields.set(flat[index] ?? '', flat[index + 1] ?? '')
    }
    yield fields
    cursor = next
  } while (cursor !== '0')
}
