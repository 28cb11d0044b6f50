// `npm run token`: makes a token for trying out, signed with the service's own AUTH_JWT_SECRET. The
// secret comes from the environment, because others can see a command line.
import { readName, readNumber, readOptions, runCommand, UsageError } from './options.js'
import { readSettings } from './settings.js'
import { signToken } from './sign-token.js'

const HELP = `Makes a token for a service that requires tokens.

  AUTH_JWT_SECRET=… npm run --silent token -- --user ann --read 'team-*' --write room123

  --user NAME     the user; without it, but with --admin, the token is for a program that writes in
                  the name of others
  --read ROOMS    rooms that may be read, separated by commas: a name; the beginning of names and *;
                  or member, for the rooms of which the user is a member
  --write ROOMS   rooms that may be written in
  --admin         all rooms, and the operators' routes such as /metrics
  --ttl SECONDS   how long it is valid; default 3600
  --help

AUTH_AUDIENCE and AUTH_ISSUER apply as well. Only the token is written to standard output.`

async function token(args: readonly string[]): Promise<number> {
  const { user, read, write, admin, ttl, help } = readOptions(args, {
    user: { type: 'string' },
    read: { type: 'string' },
    write: { type: 'string' },
    admin: { type: 'boolean', default: false },
    ttl: { type: 'string' },
    help: { type: 'boolean', default: false }
  })
  if (help) {
    console.log(HELP)
    return 0
  }
  if (user === undefined && !admin) {
    throw new UsageError('Say whom the token is for: --user NAME, or --admin for a program.')
  }
  const ttlS = readNumber('ttl', ttl, { min: 1, max: 315_360_000 }) ?? 3600
  if (user !== undefined) readName('user', user)
  const { authJwtSecret, authAudience, authIssuer } = readSettings().identity
  if (authJwtSecret === '') throw new UsageError("Set AUTH_JWT_SECRET to the service's secret.")
  console.log(
    await signToken(authJwtSecret, {
      user,
      read: roomsOf(read),
      write: roomsOf(write),
      isAdmin: admin,
      ttlS,
      audience: authAudience,
      issuer: authIssuer
    })
  )
  return 0
}

// A room's name may contain a comma; such a room cannot be named here.
const roomsOf = (text: string | undefined): string[] =>
  text === undefined ? [] : text.split(',').filter(room => room !== '')

await runCommand(token)
