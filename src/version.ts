// The version of this service. It is stated in package.json only.
import { readFileSync } from 'node:fs'
import { PACKAGE } from './places.js'

const { version }: { version: string } = JSON.parse(
  readFileSync(new URL('package.json', PACKAGE), 'utf8')
)

export { version as VERSION }
