// What AUTH_JWT_SECRET, AUTH_JWT_PUBLIC_KEY and AUTH_JWKS_URL say. At most one of them may be set;
// without any of them the service is open. No error quotes a secret or the name of a file, because
// the secret itself may have been put there by mistake.
import { readFileSync } from 'node:fs'
import { KeyError, publicKeys, secretKeys, type Keys } from '../identity/keys.js'
import { SettingError } from './kinds.js'

export type KeySource =
  { readonly kind: 'keys'; readonly keys: Keys } | { readonly kind: 'jwks'; readonly url: string }

/** @throws SettingError */
export function keySource({
  authJwtSecret,
  authJwtPublicKey,
  authJwksUrl
}: {
  readonly authJwtSecret: string
  readonly authJwtPublicKey: string
  readonly authJwksUrl: string
}): KeySource | undefined {
  const given = [authJwtSecret, authJwtPublicKey, authJwksUrl].filter(text => text !== '')
  if (given.length === 0) return undefined
  if (given.length > 1) {
    throw new SettingError(
      'Only one of AUTH_JWT_SECRET, AUTH_JWT_PUBLIC_KEY and AUTH_JWKS_URL may be set: it fixes the algorithm'
    )
  }
  if (authJwksUrl !== '') return { kind: 'jwks', url: jwksUrl(authJwksUrl) }
  const name = authJwtSecret === '' ? 'AUTH_JWT_PUBLIC_KEY' : 'AUTH_JWT_SECRET'
  try {
    const keys =
      authJwtSecret === '' ? publicKeys(readKeyFile(authJwtPublicKey)) : secretKeys(authJwtSecret)
    return { kind: 'keys', keys }
  } catch (error) {
    if (error instanceof KeyError) throw new SettingError(`${name} ${error.message}`)
    throw error
  }
}

function readKeyFile(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const { code = 'an error' } = error as NodeJS.ErrnoException
    throw new KeyError(`must name a file that can be read, but reading it failed with ${code}`)
  }
}

function jwksUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username + url.password !== '') {
    throw new SettingError('AUTH_JWKS_URL must be an https:// or http:// URL without a password')
  }
  return text
}
