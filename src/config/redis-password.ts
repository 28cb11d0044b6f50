// Where the password of REDIS_NODES comes from: the URLs, a file, or a command. Invariant: no error
// quotes the password, the file's name, the command or what it printed, because each may hold a
// secret.
import { readFileSync } from 'node:fs'
import { type Password, type PasswordSource } from '../redis/password.js'
import { SettingError } from './kinds.js'
import { PasswordCommand } from './password-command.js'

export type PasswordSettings = {
  readonly redisPasswordFile?: string
  readonly redisPasswordCommand?: string
}

/** @throws SettingError if there are several, or the file cannot be read */
export function passwordFrom(
  inUrl: string,
  { redisPasswordFile: file = '', redisPasswordCommand: command = '' }: PasswordSettings
): Password | undefined {
  if (file !== '' && command !== '') {
    throw new SettingError('REDIS_PASSWORD_FILE and REDIS_PASSWORD_COMMAND cannot both be set')
  }
  const name = file === '' ? 'REDIS_PASSWORD_COMMAND' : 'REDIS_PASSWORD_FILE'
  if (inUrl !== '' && file + command !== '') {
    throw new SettingError(`REDIS_NODES must hold no password where ${name} is set`)
  }
  if (command !== '') return new PasswordCommand(command)
  if (file !== '') return passwordFile(file)
  return inUrl === '' ? undefined : inUrl
}

/**
 * Why a file cannot be read, without its name: by mistake the setting may hold the secret itself.
 */
export function fileFault(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  return code === undefined ? 'it is empty' : `reading it failed with ${code}`
}

function passwordFile(file: string): PasswordSource {
  let password = ''
  const read = (): string => {
    password = readFileSync(file, 'utf8').trim() || password
    return password
  }
  try {
    if (read() === '') throw new Error('empty')
  } catch (error) {
    throw new SettingError(
      `REDIS_PASSWORD_FILE must name a file with a password, but ${fileFault(error)}`
    )
  }
  const current = async (): Promise<string> => {
    try {
      return read()
    } catch {
      // The file is just being replaced. If the last password has expired, Redis says so.
      return password
    }
  }
  return { current, insteadOf: current }
}
