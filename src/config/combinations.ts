// Settings that contradict each other, or that do nothing without another one. They are refused:
// whoever set them believes that they work.
import { SettingError } from './kinds.js'

type Environment = Readonly<Record<string, string | undefined>>

const KEYS = ['AUTH_JWT_SECRET', 'AUTH_JWT_PUBLIC_KEY', 'AUTH_JWKS_URL']

const COMPANIONS = [
  {
    names: ['AUTH_AUDIENCE', 'AUTH_ISSUER'],
    of: KEYS,
    otherwise: 'nobody would need a token'
  },
  {
    names: [
      'REDIS_PASSWORD_FILE',
      'REDIS_PASSWORD_COMMAND',
      'REDIS_ADDRESS_MAP',
      'REDIS_TLS_CA',
      'REDIS_TLS_CERT',
      'REDIS_TLS_KEY'
    ],
    of: ['REDIS_NODES'],
    otherwise: 'an embedded cluster would be started'
  }
]

/** @throws SettingError that names the settings */
export function checkCombinations(
  env: Environment,
  { pageLength, pageLengthMax }: { readonly pageLength: number; readonly pageLengthMax: number }
): void {
  const isSet = (name: string): boolean => (env[name] ?? '') !== ''
  for (const { names, of, otherwise } of COMPANIONS) {
    const lonely = of.some(isSet) ? undefined : names.find(isSet)
    if (lonely !== undefined) {
      throw new SettingError(`${lonely} is set without ${of.join(' or ')}: ${otherwise}`)
    }
  }
  if (pageLength > pageLengthMax) {
    throw new SettingError(
      `PAGE_LENGTH must be at most PAGE_LENGTH_MAX, but is ${pageLength}, and PAGE_LENGTH_MAX is ${pageLengthMax}`
    )
  }
}
