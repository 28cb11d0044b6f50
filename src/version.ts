// The version of this service. It is stated in package.json only.
import { readFileSync } from 'node:fs'

// At run time this file is dist/src/version.js.
const { version }: { version: string } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
)

export { version as VERSION }
