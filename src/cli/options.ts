// What all commands share: strict parsing of their arguments, numbers within limits, names, and
// exit statuses. A mistake is a UsageError, whose message says what to change.
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { messageOf } from '../errors.js'
import { checkName } from '../message/names.js'

const EXIT_USAGE = 2

/**
 * What may hold a secret: an address with a password, as REDIS_NODES has it, or a token. They are
 * easily given in a wrong place, and the output of a command may be kept.
 */
const SECRET = /[^\s'"]*:[^\s'"]*@[^\s'"]*|\beyJ[\w-]{10,}\.[\w.-]+/g

/** A text that quotes arguments, without what may hold a secret. */
export const withoutSecrets = (text: string): string => text.replace(SECRET, '(may hold a secret)')

export class UsageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(withoutSecrets(message), options)
    this.name = 'UsageError'
  }
}

/**
 * Runs a command with its arguments. The result is the exit status: 0, or 1 if it failed; wrong
 * usage is 2.
 */
export async function runCommand(
  command: (args: readonly string[]) => Promise<number>
): Promise<void> {
  // If nobody reads the output any more (`… | head`), the command still finishes its work.
  for (const output of [process.stdout, process.stderr]) {
    output.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
  try {
    process.exitCode = await command(process.argv.slice(2))
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    console.error(`${error.message}\nTry --help.`)
    process.exitCode = EXIT_USAGE
  }
}

export type Limits = {
  readonly min: number
  readonly max: number
  /** Allows fractions; by default only whole numbers are allowed. */
  readonly isFraction?: boolean
}

/**
 * Parses options strictly: unknown options, missing values and extra words are mistakes.
 * @throws UsageError
 */
export function readOptions<const T extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: T
) {
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values
  } catch (error) {
    // Without the error as its cause, because that quotes the argument.
    throw new UsageError(messageOf(error))
  }
}

/**
 * Parses a number; undefined stays undefined.
 * @throws UsageError when it is not a number or is outside its limits
 */
export function readNumber(
  name: string,
  value: string | undefined,
  { min, max, isFraction = false }: Limits
): number | undefined {
  if (value === undefined) return undefined
  const number = /^\d+(\.\d+)?$/.test(value) ? Number(value) : NaN
  if (number >= min && number <= max && (isFraction || Number.isInteger(number))) return number
  throw new UsageError(
    `--${name} must be a ${isFraction ? '' : 'whole '}number from ${min} to ${max}, not '${value}'.`
  )
}

/**
 * Checks the name of a room or a user.
 * @throws UsageError with what to change
 */
export function readName(what: 'room' | 'user', name: string): string {
  try {
    checkName(what, name)
    return name
  } catch (error) {
    throw new UsageError(messageOf(error), { cause: error })
  }
}

/**
 * Parses the address of a service: http or https, with or without a path.
 * @throws UsageError
 */
export function readUrl(name: string, value: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (
    url === undefined ||
    !/^https?:$/.test(url.protocol) ||
    url.username !== '' ||
    url.search !== '' ||
    url.hash !== ''
  ) {
    throw new UsageError(`--${name} must be an address like http://127.0.0.1:8080, not '${value}'.`)
  }
  return url.href
}
