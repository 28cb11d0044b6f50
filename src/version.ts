// The version of this service, as package.json states it. No other place does.
import { readFileSync } from 'node:fs'

// This file is dist/src/version.js when it runs.
const { version }: { version: string } = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
)

export { version as VERSION }
