// The settings as a command reads them: a wrong one counts as wrong usage.
import { type Config, readConfig } from '../config.js'
import { SettingError } from '../config/kinds.js'
import { UsageError } from './options.js'

/** @throws UsageError that names the setting */
export function readSettings(): Config {
  try {
    return readConfig()
  } catch (error) {
    if (error instanceof SettingError) throw new UsageError(error.message, { cause: error })
    throw error
  }
}
